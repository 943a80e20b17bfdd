"""A sweep file: one question, its axes and levels, and how it will be decided.

    question: Does x0_beta1 above 0.8 help, and does it still help at target scale?
    base: [experiment=baseline]
    axes:
      x0_beta1: {b80: [optimizer.x0.beta1=0.80], b96: [optimizer.x0.beta1=0.96]}   # long form
      optimizer.matrix.lr: [0.02, 0.025]                                           # short form
    reference: {x0_beta1: b80}   # an axis without one has an implicit reference: no overrides
    combine: 1                   # 1: one axis at a time; 2: all pairs too; all: the full product
    seeds: [1, 2, 3]
    decision: {metric: val_bpb, alpha: 0.05, min_effect: 0.0003}
    ladder: gpt2                 # left out: every run at the depth that base sets
    reference_horizons: [0.5, 2] # the reference at these multiples too; left out: as the ladder says
    reference_replicates: auto   # its runs a seed: a number, or √variants; left out: as the ladder says
    search: {space: {...}}       # instead of axes or beside them: Optuna proposes points (search_spec.py)

``load`` looks for NAME.yaml in ./sweeps, then among the shipped ones; a path is taken as it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from sweepkit import errors
from sweepkit.config import paths, yaml_words
from sweepkit.sweep import fields
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.search_spec import SearchSpec


@dataclass(frozen=True)
class SweepFile:
    """The typed content of a sweep file, long form.

    Attributes:
        axes: axis → level → its overrides.
        reference: axis → the level the reference has; axes left out have an implicit one.
        combine: how many axes may differ from the reference at once: 1, 2 or "all".
        seeds: replicates of every variant, paired across variants; empty for ``auto``, until
            ``promotion.expected.with_seeds`` has worked out how many the last rung needs.
        ladder: a choice of the ladder group, or None.
        search: what Optuna searches, or None.
        reference_horizons: multiples of a rung's horizon at which the reference is run as well; None: the
            ladder's.
        reference_replicates: runs of the reference a seed, or "auto" (``reference_runs.py``); None: the
            ladder's.
        replaced_seeds: seed → the fresh one in its place; in no file, for freezing finds them (``seen.py``).
    """

    name: str
    question: str = ""
    base: tuple[str, ...] = ()
    axes: dict[str, dict[str, tuple[str, ...]]] = field(default_factory=dict)
    reference: dict[str, str] = field(default_factory=dict)
    combine: int | str = 1
    seeds: tuple[int, ...] = (1,)
    decision: DecisionRule = field(default_factory=DecisionRule)
    ladder: str | None = None
    search: SearchSpec | None = None
    reference_horizons: tuple[float, ...] | None = None
    reference_replicates: int | str | None = None
    replaced_seeds: Mapping[int, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; tuples become lists."""
        later: dict[str, Any] = {"search": self.search.to_json()} if self.search else {}
        if self.reference_horizons is not None:
            later["reference_horizons"] = list(self.reference_horizons)
        if self.reference_replicates is not None:
            later["reference_replicates"] = self.reference_replicates
        return later | {
            "name": self.name,
            "question": self.question,
            "base": list(self.base),
            "axes": {
                axis: {level: list(overrides) for level, overrides in levels.items()}
                for axis, levels in self.axes.items()
            },
            "reference": dict(self.reference),
            "combine": self.combine,
            "seeds": list(self.seeds),
            "decision": self.decision.to_json(),
            "ladder": self.ladder,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> SweepFile:
        """A sweep from the content of its file plus ``name``; checks every key, type and reference.

        Raises:
            ConfigError: names the key, what it is, what it must be and what to do.
        """
        known = [item.name for item in dataclasses.fields(cls) if item.name != "replaced_seeds"]
        for key in value:
            if key not in known:
                raise errors.invalid(
                    f"sweep {value['name']}: {key}",
                    value[key],
                    "be a known key of a sweep file",
                    errors.did_you_mean(str(key), known),
                )
        search = SearchSpec.from_json(value["search"]) if value.get("search") is not None else None
        axes = fields.read_axes(value.get("axes")) if value.get("axes") or search is None else {}
        ladder = value.get("ladder")
        return cls(
            name=fields.check_name(value["name"]),
            question=fields.read_text("question", value.get("question", "")),
            base=fields.read_overrides("base", value.get("base", [])),
            axes=axes,
            reference=fields.read_reference(value.get("reference", {}), axes),
            combine=fields.read_combine(value.get("combine", 1)),
            seeds=fields.read_seeds(value.get("seeds", [1])),
            decision=DecisionRule.from_json(fields.read_mapping("decision", value.get("decision", {}))),
            ladder=None if ladder in (None, "none") else fields.read_text("ladder", ladder),
            search=search,
            reference_horizons=fields.read_horizons(value.get("reference_horizons")),
            reference_replicates=fields.read_replicates(value.get("reference_replicates")),
        )


def load(name_or_path: str | Path) -> SweepFile:
    """Read and check one sweep file.

    Args:
        name_or_path: a name, looked up as ``./sweeps/NAME.yaml`` and then among the shipped sweeps; or a
            path ending in .yaml.

    Raises:
        ConfigError: there is none of that name, it is not YAML, or its content breaks the contract.
    """
    path = find(str(name_or_path))
    try:
        content = yaml_words.read(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split())
        raise errors.invalid(
            "sweep file", str(path), f"be valid YAML ({detail})", "correct that line"
        ) from error
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise errors.invalid("sweep file", str(path), "map keys to values", "start from a shipped sweep file")
    if "name" in content:
        raise errors.invalid(
            "name", content["name"], "be left out", "a sweep is named by its file; rename the file instead"
        )
    return SweepFile.from_json({str(key): item for key, item in content.items()} | {"name": path.stem})


def find(name_or_path: str) -> Path:
    """The file of a sweep. Raises ConfigError with a list of what there is."""
    if name_or_path.endswith((".yaml", ".yml")):
        path = Path(name_or_path)
        if path.is_file():
            return path
    else:
        for folder in _folders():
            path = folder / f"{name_or_path}.yaml"
            if path.is_file():
                return path
    raise errors.invalid(
        "sweep",
        name_or_path,
        f"be a file or a sweep in {' or '.join(str(folder) for folder in _folders())}",
        errors.did_you_mean(name_or_path, available()) if available() else "write one first",
    )


def available() -> list[str]:
    """Names of the sweeps that ``load`` would find."""
    return sorted({path.stem for folder in _folders() for path in folder.glob("*.yaml") if path.is_file()})


def _folders() -> tuple[Path, Path]:
    return Path("sweeps"), paths.sweeps_dir()
