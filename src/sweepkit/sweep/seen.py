"""What was known of a sweep's runs when it was frozen: which had trained, and which sweeps had judged them.

A verdict keeps its error rate only where nobody could choose variants, seeds or rule by the losses that it
rests on. So freezing looks at what lies in the results folder. A run is *seen* when one of the same training
and seed has told anything: it ended, or has logged a step. Evaluated in another way it is the same run;
another rhythm of evaluations, micro-batch or limit of divergence is another run and the same training
(``RunPlan.training_id``), and weights of their own change a run less than its data do, so none makes it
unseen. Runs that were judged by a sweep are seen although their folders were deleted.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sweepkit import fsio
from sweepkit.config import typed
from sweepkit.errors import DamagedError, SweepkitError
from sweepkit.plan.run_spec import RunSpec

#: States and failures by which a run tells what became of its variant, without having logged a step.
_ANSWERS = frozenset({"complete", "diverged", "pruned", "futile", "oom", "timeout", "crash", "impossible"})
_RUN_ID = re.compile(r"(?:d(\d+)|c)-(.+)-s(\d+)(?:-i\d+)?")
_FIRST_JUDGED = "first_judged.json"
#: In this order: the second tells as much, where the first was deleted or is damaged.
_DECISIONS = ("verdicts.json", "promotion.json")


@dataclass(frozen=True)
class Judgement:
    """What a sweep has judged on one rung, or in one amendment.

    Attributes:
        sweep, rung: where.
        alpha: the level of its rule.
        metric: what was compared.
        judged_at: ISO 8601 UTC, when it was judged first; None where that is not known.
        runs: variant → ids of its runs, the reference's under ``reference``.
    """

    sweep: str
    rung: str
    alpha: float
    metric: str
    judged_at: str | None = field(default=None, compare=False, metadata=typed.UNWRITTEN)
    runs: Mapping[str, frozenset[str]] = field(default_factory=dict, compare=False, metadata=typed.UNWRITTEN)

    @property
    def run_ids(self) -> frozenset[str]:
        return frozenset().union(*self.runs.values())


@dataclass(frozen=True)
class Seen:
    """What a frozen sweep knew of its own runs.

    Attributes:
        runs: ids of its runs that were seen, kept because it was asked to.
        replaced: listed seed → the fresh one in its place.
        judged: the sweeps that had judged runs of the listed seeds.
    """

    runs: tuple[str, ...] = ()
    replaced: Mapping[int, int] = field(default_factory=dict)
    judged: tuple[Judgement, ...] = ()

    @property
    def sentences(self) -> list[str]:
        """What whoever reads the verdicts must know; nothing where nothing was seen."""
        by = f" ({judged_by(self.judged)})" if self.judged else ""
        found = []
        if self.replaced:
            listed, fresh = (", ".join(map(str, seeds)) for seeds in (self.replaced, self.replaced.values()))
            found.append(f"fresh seeds {fresh} for {listed}, with which runs had been seen{by}")
        if self.runs:
            many = f"{len(self.runs)} of its runs" if len(self.runs) > 1 else "one of its runs"
            found.append(f"after the fact: {many} had been seen when it was frozen{by}")
        return found


def judged_by(judged: Sequence[Judgement]) -> str:
    """``judged by demo at α = 0.05, other at α = 0.1``."""
    found = dict.fromkeys(f"{item.sweep} at α = {item.alpha:g}" for item in judged)
    return f"judged by {', '.join(found)}"


class Past:
    """What the runs and the other sweeps of a results folder tell by now."""

    def __init__(self, results_dir: Path, sweep: str) -> None:
        """Args: ``sweep`` is whose past it is; its own verdicts are none of others."""
        self._runs_dir = results_dir / "runs"
        self.judged = list(judgements(results_dir, but_for=sweep))
        self._judged_ids = frozenset[str]().union(*(item.run_ids for item in self.judged))
        self._by_place: dict[tuple[int | None, int], list[str]] = {}  # depth and seed → run ids
        for run_id in {*fsio.folders(self._runs_dir), *self._judged_ids}:
            if match := _RUN_ID.fullmatch(run_id):
                depth = int(match[1]) if match[1] else None
                self._by_place.setdefault((depth, int(match[3])), []).append(run_id)
        self._told: dict[str, bool] = {}
        self._training: dict[str, str] = {}

    @property
    def is_known(self) -> bool:
        """Whether there is anything that could have been seen."""
        return bool(self._by_place)

    def seen(self, plan: RunSpec, seed: int | None = None, of_any_training: bool = False) -> list[str]:
        """Ids of the runs by which this one was seen.

        Args:
            seed: in place of the plan's.
            of_any_training: whatever was trained at that depth with that seed.
        """
        place = (plan.depth, plan.seed if seed is None else seed)
        return [
            run_id
            for run_id in sorted(self._by_place.get(place, ()))
            if (of_any_training or self._is_same(run_id, plan)) and self._has_told(run_id)
        ]

    def judged_any(self, run_ids: Iterable[str]) -> tuple[Judgement, ...]:
        """The sweeps that have judged any of these runs, in the order of their names."""
        wanted = frozenset(run_ids)
        return tuple(item for item in self.judged if item.run_ids & wanted)

    def _is_same(self, run_id: str, plan: RunSpec) -> bool:
        match = _RUN_ID.fullmatch(run_id)
        if match is not None and match[2] == plan.variant_id:
            return True
        return plan.training_id != "" and self._training_of(run_id) == plan.training_id

    def _training_of(self, run_id: str) -> str:
        if run_id not in self._training:
            found = _read(self._runs_dir / run_id / "plan.json")
            self._training[run_id] = str(found.get("training_id", ""))
        return self._training[run_id]

    def _has_told(self, run_id: str) -> bool:
        if run_id not in self._told:
            self._told[run_id] = run_id in self._judged_ids or _has_told(self._runs_dir / run_id)
        return self._told[run_id]


def judgements(results_dir: Path, but_for: str = "") -> Iterator[Judgement]:
    """Of every rung that any sweep of the folder has judged, in the order of their names."""
    names = sorted(
        entry for entry in fsio.folders(results_dir) if not entry.startswith(".") and entry != but_for
    )
    for name in names:
        yield from judged_in(results_dir / name)


def judged_in(sweep_dir: Path) -> list[Judgement]:
    """Of every rung that a sweep has judged."""
    for file in _DECISIONS:
        content = _read(sweep_dir / file)
        if found := list(_judgements(sweep_dir.name, content, first_judged(sweep_dir))):
            return found
    return []


def has_ended(sweep_dir: Path) -> bool:
    """Whether a promotion ended here, so that cells without a run were not needed.

    Warns of a file that cannot be read: what it would say is not known then, and is worked out again.
    """
    try:
        return fsio.read_json(sweep_dir / _DECISIONS[-1])["finished"] is True
    except DamagedError as error:
        warnings.warn(
            f"{error.path} is damaged ({error.why}); sweepkit promote writes it again", stacklevel=2
        )
        return False
    except (FileNotFoundError, KeyError):
        return False


def judged_runs(sweep_dir: Path) -> frozenset[str]:
    """Ids of the runs that a sweep's verdicts rest on."""
    return frozenset[str]().union(*(item.run_ids for item in judged_in(sweep_dir)))


def first_judged(sweep_dir: Path) -> dict[str, str]:
    """Rung → when a sweep judged it first, ISO 8601 UTC."""
    return {str(rung): str(when) for rung, when in _read(sweep_dir / _FIRST_JUDGED).items()}


def judge_first(sweep_dir: Path, rung: str) -> None:
    """Keep when a rung is judged first; beside the verdicts, which have no clock in them."""
    known = first_judged(sweep_dir)
    if rung not in known:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        fsio.write_json(sweep_dir / _FIRST_JUDGED, known | {rung: now})


def _judgements(sweep: str, content: Mapping[str, Any], first: Mapping[str, str]) -> Iterator[Judgement]:
    """Those that a file of decisions holds; what is damaged in it is left out."""
    try:
        rungs = content["rungs"]
        verdicts = content.get("verdicts") or [item for rung in rungs for item in rung["verdicts"]]
        for rung in rungs:
            here = [item for item in verdicts if item["rung"] == rung["rung"]]
            runs: dict[str, frozenset[str]] = {}
            for item in here:
                evidence = item["evidence"]
                mine = {*evidence["run_ids"], *evidence["against"], *evidence["missing"]}
                mine |= {*(evidence.get("stopped") or ())}
                runs[str(item["variant"])] = frozenset(mine)
                base = runs.get("reference", frozenset())
                runs["reference"] = base | frozenset(evidence["reference_run_ids"])
            if here:
                alpha = float(content["decision"]["alpha"]) / 2 ** int(rung["amendment"])
                metric, when = str(here[0]["evidence"]["metric"]), first.get(str(rung["rung"]))
                yield Judgement(sweep, str(rung["rung"]), alpha, metric, when, runs)
    except (KeyError, TypeError, ValueError, AttributeError):
        return


def _has_told(run_dir: Path) -> bool:
    """Whether a run has ended with an answer, or has logged a step, or nobody can say any more."""
    try:
        if (run_dir / "metrics.jsonl").stat().st_size:
            return True
    except OSError:
        pass
    if not (run_dir / "record.json").exists():
        return False
    record = _read(run_dir / "record.json")
    return not record or bool(_ANSWERS & {str(record.get("state")), str(record.get("failure_class"))})


def _read(path: Path) -> Mapping[str, Any]:
    """A JSON object; an empty one where there is none that can be read."""
    try:
        content = fsio.read_json(path)
    except (OSError, ValueError, RecursionError, SweepkitError):
        return {}
    return content if isinstance(content, dict) else {}
