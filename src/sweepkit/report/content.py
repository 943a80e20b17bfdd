"""All that a report is made of, gathered from a sweep's folder and its runs.

A promotion leaves ``promotion.json``. Without one (the sweep was not promoted, or not yet) the report has
less to say: effects are then estimated here, with the same functions and no verdict.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from sweepkit import fsio
from sweepkit.analysis import diagnosis
from sweepkit.analysis import effects as analysis
from sweepkit.analysis.diagnosis import Diagnosis
from sweepkit.analysis.frontier import without_horizons
from sweepkit.analysis.transfer import TransferRow
from sweepkit.config import paths, typed
from sweepkit.errors import DamagedError, SweepkitError, invalid
from sweepkit.launch import ledger
from sweepkit.plan.run_plan import RunPlan
from sweepkit.promotion import selected
from sweepkit.promotion.selected import Tried
from sweepkit.promotion.verdict_record import Promotion, Verdict
from sweepkit.report import imported_content
from sweepkit.report.summary import COMPLETE, complete_means
from sweepkit.results import imported, store
from sweepkit.results.columns import PLANNED
from sweepkit.results.imported import Imported
from sweepkit.results.record import RunDir
from sweepkit.sweep import frozen as freezing
from sweepkit.sweep import frozen_head, frozen_lines, tuning
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.frozen import Frozen

_BEST_TRIALS = 10
_FIELDS = list(TransferRow.__dataclass_fields__)
#: State on the page of a cell that the promotion did not need.
NOT_RUN = "not run"


@dataclass
class Content:
    """What there is to tell about one sweep.

    Attributes:
        frozen: the frozen plan and rule; None where it was tampered with or written by hand.
        problems: what is wrong with the sweep's files, one sentence each.
        runs, curves: the runs table and the curves table.
        promotion: None without one.
        transfer: every variant's effect on every rung where it can be estimated.
        imported: where runs come from that others made.
        tried: what the selection runs of ``tune`` say, and ``selection_seeds`` with which.
        files: what -> path, those that exist.
    """

    name: str
    sweep_dir: Path
    runs: pd.DataFrame
    curves: pd.DataFrame
    frozen: Frozen | None = None
    promotion: Promotion | None = None
    imported: Imported | None = None
    transfer: list[TransferRow] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    tried: list[Tried] = field(default_factory=list)
    selection_seeds: tuple[int, ...] = ()
    files: dict[str, Path] = field(default_factory=dict)

    @property
    def rungs(self) -> list[str]:
        """Rungs from the bottom up."""
        return [str(rung) for rung in dict.fromkeys(self.runs["rung"].dropna())]

    @property
    def variants(self) -> list[str]:
        """Labels in plan order, the reference included."""
        return [str(variant) for variant in dict.fromkeys(self.runs["variant"].dropna())]

    @property
    def decision(self) -> DecisionRule:
        """The frozen rule; where it cannot be read, the one the promotion went by, else the default."""
        if self.imported is not None:
            return imported_content.rule_of(self.imported)
        if self.frozen is None and self.promotion is not None:
            return self.promotion.decision
        return self.frozen.decision if self.frozen else DecisionRule()

    @property
    def verdicts(self) -> list[Verdict]:
        """All verdicts, rung by rung."""
        rungs = self.promotion.rungs if self.promotion else []
        return [verdict for rung in rungs for verdict in rung.verdicts]

    @cached_property
    def diagnoses(self) -> dict[str, Diagnosis]:
        """What every run that has started says of its inside; nothing of commands."""
        if self.frozen is None or not isinstance(self.frozen.cells[0].plan, RunPlan):
            return {}
        found = {
            cell.plan.run_id: (RunDir.of(self.sweep_dir.parent, cell.plan.run_id), cell.own)
            for cell in self.frozen.cells
        }
        return {run_id: diagnosis.of(*it) for run_id, it in found.items() if it[0].record_path.exists()}

    def rule_on(self, rung: str) -> DecisionRule:
        """The rule as a rung or an amendment goes by it."""
        return self.frozen.rule_on(rung) if self.frozen else self.decision

    def judged(self, rung: str) -> pd.DataFrame:
        """What a rung was decided by, with the fields of ``TransferRow``; ``effects`` without verdicts."""
        shown = {row.variant for row in self.transfer}
        here = [item for item in self.verdicts if item.rung == rung]
        found = [item.effect for item in here if item.variant in shown]
        rows = [
            TransferRow(item.variant, rung, None, item.n, item.effect, item.low, item.high, item.confidence)
            for item in found
        ]
        return pd.DataFrame(map(asdict, rows), columns=_FIELDS) if here else self.effects(rung)

    def effects(self, rung: str | None = None) -> pd.DataFrame:
        """``transfer`` as a frame with the fields of ``TransferRow``, of one rung or of all."""
        rows = [asdict(row) for row in self.transfer if rung in (None, row.rung)]
        return pd.DataFrame(rows, columns=_FIELDS)


def gather(sweep: str, results_dir: Path | None = None) -> Content:
    """Read everything about a sweep.

    Raises:
        SweepkitError: no sweep of that name has been frozen here, or all runs are asked for.
    """
    results = results_dir or paths.results_dir()
    if sweep == store.ALL:
        known = ", ".join(store.known_names(results)) or "none yet"
        raise invalid("sweep", sweep, "be one sweep, with a plan and a rule of its own", f"known: {known}")
    if (others := imported.find(results / sweep)) is not None:
        return _of_others(sweep, results, others)
    runs = ledger.with_lost(store.load(sweep, results), results)
    content = Content(sweep, results / sweep, runs, store.curves(sweep, results, runs))
    try:
        content.frozen = freezing.load_frozen(results, sweep)
    except (SweepkitError, KeyError, TypeError) as error:
        content.problems.append(str(error))
    content.promotion = _promotion(content)
    if content.promotion and content.promotion.finished:
        # cells of variants that did not get that far: frozen, but nothing waits for them
        content.runs["state"] = runs["state"].replace(PLANNED, NOT_RUN)
    content.transfer = content.promotion.transfer if content.promotion else _estimated(content)
    if content.frozen and content.frozen.search:
        shown = _best_trials(content, content.frozen)
        content.transfer = [row for row in content.transfer if row.variant in shown]
        content.curves = content.curves[content.curves["variant"].isin(shown)]
    _add_tuning(content, results)
    content.files = _files(content.sweep_dir, results)
    return content


def _of_others(name: str, results: Path, said: Imported) -> Content:
    """Of runs that were imported."""
    runs = imported_content.runs_of(name, results)
    content = Content(name, results / name, runs, store.curves(name, results, runs), imported=said)
    content.promotion, why = imported_content.judged(name, runs, said)
    content.problems += [why] if why else []
    content.transfer = content.promotion.transfer if content.promotion else []
    content.files = _files(content.sweep_dir, results)
    return content


def _add_tuning(content: Content, results: Path) -> None:
    """What variants were tuned by, where those runs are here."""
    head, name = frozen_head.found(content.sweep_dir), tuning.name_of(content.name)
    if head is None or not head.sweep.tune or name not in freezing.frozen_names(results):
        return
    untuned = replace(head.sweep, tuned={})
    content.selection_seeds = tuning.seeds(untuned, head.overrides)
    content.tried = selected.tried(untuned, store.load(name, results), head.overrides, head.sweep.tuned)


def _promotion(content: Content) -> Promotion | None:
    path = content.sweep_dir / "promotion.json"
    try:
        promotion = typed.load(Promotion, fsio.read_json(path))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        remedy = f"`sweepkit promote {content.name}` writes it again"
        why = error.why if isinstance(error, DamagedError) else error
        content.problems.append(f"{path} cannot be read ({why}); {remedy}")
        return None
    if content.frozen and promotion.frozen_sha256 != content.frozen.sha256:
        content.problems.append(f"{path} was decided by another frozen plan than the one that is here now.")
    return promotion


def _estimated(content: Content) -> list[TransferRow]:
    """Effects of a sweep that was not promoted, by the functions that verdicts use."""
    rule, rows = content.decision, []
    for rung in content.rungs:
        done = content.runs[(content.runs["rung"] == rung) & (content.runs["state"] == COMPLETE)]
        done = without_horizons(done)
        if rule.metric not in done or done.empty:
            continue
        depth = int(done["depth"].iloc[0])
        rows += [
            TransferRow(
                found.variant, rung, depth, found.n, found.effect, found.low, found.high, found.confidence
            )
            for found in analysis.effects(done, rule.metric, rule.alpha)
        ]
    return rows


def _best_trials(content: Content, frozen: Frozen) -> set[str]:
    """What plots can hold of a search: its frozen variants, the ten best trials and those that climbed.

    Effects are estimated among all before, so that their intervals know how many were tried.
    """
    here, metric = content.runs[content.runs["rung"] == frozen.rungs[0].name], content.decision.metric
    means = complete_means(here, [metric])[metric].sort_values(ascending=content.decision.sign > 0)
    above = {item.variant for item in content.verdicts if item.rung != frozen.rungs[0].name}
    fixed = {cell.variant for cell in frozen.fixed}
    return fixed | above | {str(name) for name in means.index[:_BEST_TRIALS]}


def _files(sweep_dir: Path, results: Path) -> dict[str, Path]:
    known = {
        "report": sweep_dir / "report.html",
        "frozen plan": sweep_dir / frozen_lines.PLAN_FILE,
        "decision rule": sweep_dir / frozen_head.FROZEN_FILE,
        "verdicts": sweep_dir / "verdicts.json",
        "promotion": sweep_dir / "promotion.json",
        "effects": sweep_dir / "effects.csv",
        "costs": sweep_dir / "costs.csv",
        "runs table": sweep_dir / "runs.csv",
        "imported runs": sweep_dir / "runs.csv.gz",
        "where they come from": sweep_dir / imported.FILE,
        "run folders": results / "runs",
    }
    return {what: path for what, path in known.items() if path.exists() or what == "report"}
