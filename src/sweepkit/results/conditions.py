"""How a run was computed and with what: the parts of its record that a node fills in. None: not known."""

from __future__ import annotations

from dataclasses import dataclass, field

from sweepkit.config.facts import REQUIRED, fact
from sweepkit.config.ranges import at_least, between, more_than_zero


@dataclass
class Fp8:
    """What carried the products in FP8."""

    backend: str  # native or emulated
    reason: str | None = None
    num_layers: int = fact(0, "that it carries", at_least(0))
    flops_share: float | None = fact(None, "of the model's FLOPs", between(0, 1))
    peak_flops: float | None = fact(None, "FLOP/s", more_than_zero())
    peak_flops_source: str | None = None


@dataclass
class Resolved:
    """What the node made of a plan."""

    dtype: str | None = None
    dtype_reason: str | None = None
    device: str | None = None
    attention: str | None = None
    attention_reason: str | None = None
    is_compiled: bool | None = None
    eager_reason: str | None = None  # why it is not compiled
    num_threads: int | None = fact(None, "it computed with", at_least(1))
    fp8: Fp8 | None = None
    num_ranks: int | None = fact(None, "where several trained it", at_least(1))
    hosts: list[str] = field(default_factory=list)  # of those ranks
    peak_flops: float | None = fact(None, "FLOP/s that MFU is held against", more_than_zero())
    peak_flops_source: str | None = None
    peak_flops_measured_at: str | None = None  # ISO 8601
    peak_memory_source: str | None = None
    notes: list[str] = field(default_factory=list)


@dataclass
class Environment:
    """Where a run ran and with what."""

    sources: str | None = None  # digest of the code that computes (config/sources.py)
    git_commit: str | None = None
    git_dirty: bool | None = None
    versions: dict[str, str] = field(default_factory=dict)
    host: str | None = None
    platform: str | None = None
    cpu: str | None = None
    num_cpus: int | None = fact(None, "cores of the machine", at_least(1))
    hardware: str | None = None  # what computed: the processor, or the accelerator
    variables: dict[str, str] = field(default_factory=dict)
    gpu: str | None = None
    gpu_memory_gib: float | None = fact(None, "of one", more_than_zero())
    gpu_capability: str | None = None
    cuda: str | None = None
    concurrency: int | None = fact(None, "runs that the machine could train at a time", at_least(1))


@dataclass(frozen=True)
class KeptWeights:
    """The file of final weights."""

    sha256: str
    num_bytes: int = fact(REQUIRED, "of the file", at_least(0), example="0")


@dataclass
class Shown:
    """What became of showing the run by wandb."""

    requested: str
    mode: str
    reason: str | None = None  # why it is another mode than the one requested
    id: str | None = None
    url: str | None = None
    error: str | None = None  # what ended it early


@dataclass(frozen=True)
class Accepted:
    """Other code that took this result for its own, because somebody said so."""

    sources: str
    at: str
