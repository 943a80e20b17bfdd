"""What a run measures of its own inside every N steps: a row of diagnostics.jsonl a diagnosed step.

By parameter, by layer and for the whole model, as ``training/diagnostics.py`` and ``training/activations.py``
measure it. Kept beside metrics.jsonl and not in it, so that the table of curves stays one number a column.
A root-mean-square of 0 is a 0 that was measured; what is not finite or was not measured is missing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from sweepkit import fsio
from sweepkit.config import typed
from sweepkit.results.record import RunDir

#: In a run's folder.
FILE = "diagnostics.jsonl"
#: log10 of the lower edge of the first bin of a gradient histogram, and of how many there are a decade.
FIRST_EDGE, BINS_PER_DECADE, NUM_BINS = -14, 2, 32


@dataclass(frozen=True)
class Moved:
    """One parameter in one step, over the elements looked at; root-mean-squares.

    Attributes:
        weight: before the step.
        grad: what the optimizer was given: after clipping, without the loss scale.
        update: what the step added.
        decay_masked: share of the elements that cautious weight decay left alone; None where it is not used.
    """

    weight: float | None = None
    grad: float | None = None
    update: float | None = None
    decay_masked: float | None = None


@dataclass(frozen=True)
class Histogram:
    """A group's gradients by size: elements in bins of log10|g|, the outermost ones open to their side."""

    counts: list[float]
    zeros: float = 0.0
    not_finite: float = 0.0

    @staticmethod
    def edges() -> list[float]:
        """log10 of the bins' lower edges, and of the last one's upper edge."""
        return [FIRST_EDGE + place / BINS_PER_DECADE for place in range(NUM_BINS + 1)]


@dataclass(frozen=True)
class Diagnosed:
    """One diagnosed step.

    Attributes:
        step: counts finished steps, as in metrics.jsonl.
        lr: learning rate as a factor of each group's peak.
        parameters: by the name that a parameter has in the model.
        groups: histograms, by group of the optimizer.
        layers: name of a measure → its value in each layer, first to last (``LAYER_MEASURES``).
        whole: name of a measure → its value (``WHOLE_MEASURES``).
    """

    step: int
    attempt: int = 1
    loss: float | None = None
    lr: float | None = None
    parameters: dict[str, Moved] = field(default_factory=dict)
    groups: dict[str, Histogram] = field(default_factory=dict)
    layers: dict[str, list[float | None]] = field(default_factory=dict)
    whole: dict[str, float | None] = field(default_factory=dict)


#: Measures of a layer → unit and meaning. Activations are those of a few rows of the step's batch.
LAYER_MEASURES: dict[str, tuple[str, str]] = {
    "residual_rms": ("", "root-mean-square of the residual stream behind the layer"),
    "mlp_dead": ("share", "hidden units of the MLP whose output is 0 for every token of the sample"),
    "attention_entropy": (
        "share",
        "entropy of attention over that of looking evenly at all, mean of heads",
    ),
    "value_gate_low": ("share", "value gates below 0.03"),
    "value_gate_high": ("share", "value gates above 0.97"),
    "expert_load_max": ("", "largest load of an expert over the mean load"),
    "experts_idle": ("share", "experts that no token of the step chose"),
}
WHOLE_MEASURES: dict[str, tuple[str, str]] = {
    "softcap_pinned": ("share", "logits with |tanh| above 0.97 in the softcap"),
    "softcap_top_pinned": ("share", "tokens whose largest logit is so"),
    "smear_gate_low": ("share", "smear gates below 0.03"),
    "smear_gate_high": ("share", "smear gates above 0.97"),
    "sample_tokens": ("tokens", "of the batch, that activations were measured on"),
    "gradient_square": ("", "squared norm of the true gradient, estimated (arXiv 1812.06162, A.1)"),
    "noise_trace": (
        "tokens",
        "trace of a token's gradient covariance, estimated so",
    ),
}


def read(run_dir: RunDir) -> list[Diagnosed]:
    """Rows by step, in order; where a step was diagnosed twice the later attempt's. No damaged ones."""
    rows: dict[int, Diagnosed] = {}
    for line in fsio.read_lines(run_dir.path / FILE):
        try:
            row = typed.load(Diagnosed, line)
        except (ValueError, TypeError, KeyError):
            continue
        rows[row.step] = row
    return [rows[step] for step in sorted(rows)]


def log10(value: float | None) -> float | None:
    """None of what is missing, and of 0."""
    return math.log10(value) if value is not None and value > 0 else None


def ratio_log10(over: float | None, under: float | None) -> float | None:
    """log10 of a ratio of root-mean-squares; None where either is missing or 0."""
    top, bottom = log10(over), log10(under)
    return None if top is None or bottom is None else top - bottom


def together(values: Iterable[tuple[float | None, int]]) -> float | None:
    """Root-mean-square of several parameters, from their own and their sizes; None where one is missing."""
    squares, size = 0.0, 0
    for value, number in values:
        if value is None:
            return None
        squares, size = squares + number * value * value, size + number
    return math.sqrt(squares / size) if size else None
