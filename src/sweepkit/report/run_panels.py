"""Single runs: their learning curves, a table, and a panel a run with all that is known of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sweepkit.printable import counted, printable
from sweepkit.report import chart_data, inside, numbers, plots, sheets
from sweepkit.report.content import NOT_RUN, Content
from sweepkit.report.page_block import Block, Drawn, Panel
from sweepkit.report.sheet import Mark, Sheet
from sweepkit.results.columns import PLANNED, REFERENCE
from sweepkit.results.record import RunDir
from sweepkit.sweep import tested
from sweepkit.sweep.tested import Change

_LOG_LINES, _LOG_BYTES = 20, 4000
_SAMPLE = 1500
#: Column of the runs table → what it is called here, and how it is written.
_TOLD: dict[str, tuple[str, Callable[[Any], str]]] = {
    "train_time_s": ("train time", numbers.duration),
    "tokens_per_s": ("tokens/s", numbers.scaled),
    "mfu": ("MFU", numbers.percent),
    "peak_memory_gib": ("peak memory", lambda gib: f"{gib:.3g} GiB"),
    "started_at": ("started", numbers.plain),
    "hardware": ("hardware", numbers.plain),
    "failure_class": ("ended by", numbers.plain),
    "failure_message": ("why", numbers.plain),
}


def curves(content: Content) -> list[Block]:
    """A chart each rung."""
    looks, parts = plots.looks(content.variants), []
    states = {str(run_id): str(state) for run_id, state in content.runs[["run_id", "state"]].to_numpy()}
    for rung in content.rungs:
        data = chart_data.learning(content.curves[content.curves["rung"] == rung], looks, states)
        if data["lines"]:
            parts += [Block("title", rung), Block("chart", Drawn(f"curves-{rung}", data))]
    intro = (
        "Thin lines are single seeds, thick lines their mean. Drag to look closer, double-click to go back; "
        "a click on a line opens its run. With the keyboard: arrows read values, + and − zoom, 0 goes back."
    )
    return [Block("soft", intro), *parts] if parts else []


def runs(content: Content) -> list[Block]:
    """All as a table, and those that have started each in a panel of its own."""
    title = counted(content.runs["run_id"].nunique(), "run")
    table = Block(
        "fold", f"{title} as a table", [Block("table", sheets.runs(content.runs, content.decision.metric))]
    )
    panels = _panels(content)
    return [table, *([Block("fold", f"{counted(len(panels), 'run')}, one by one", panels)] if panels else [])]


def _panels(content: Content) -> list[Block]:
    """Of all runs that have started; what is folded costs nothing until it is opened."""
    changes = tested.changes(content.frozen.cells, None, content.frozen.code) if content.frozen else []
    by_variant: dict[str, list[Change]] = {}
    for change in changes:
        by_variant.setdefault(change.variant, []).append(change)
    pictured, curves = inside.pictured(content), chart_data.drawn(content.curves)
    plans = {cell.plan.run_id: cell for cell in content.frozen.cells} if content.frozen else {}
    found = []
    for row in content.runs.drop_duplicates("run_id").to_dict("records"):
        if row["state"] in (PLANNED, NOT_RUN):
            continue
        run_id = str(row["run_id"])
        blocks = [Block("facts", _facts(row, content.decision.metric))]
        blocks += _differs(row, by_variant.get(str(row["variant"]), []))
        if run_id in curves:
            blocks.append(Block("chart", Drawn(f"curves-{row['rung']}", run=run_id)))
        if run_id in content.diagnoses:
            run_dir = RunDir.of(content.sweep_dir.parent, run_id)
            blocks += inside.told(content.diagnoses[run_id])
            blocks += inside.pictures(run_dir, plans[run_id].own, ratios_alone=run_id not in pictured)
        blocks += _texts(content, run_id, row.get("sample"))
        title = " · ".join(
            str(row[name]) for name in ("rung", "variant") if not numbers.is_missing(row[name])
        )
        found.append(Block("run", Panel(run_id, f"{title} · seed {row['seed']}", str(row["state"])), blocks))
    return found


def _facts(row: dict[Any, Any], metric: str) -> list[tuple[str, str | Mark]]:
    steps = numbers.count(row["num_steps"])
    if not numbers.is_missing(row["step"]) and row["step"] != row["num_steps"]:
        steps = f"{numbers.count(row['step'])} of {steps}"
    told: list[tuple[str, str | Mark]] = [
        ("run", Mark(str(row["run_id"]), "code")),
        (metric, numbers.bpb(row.get(metric))),
        ("steps", steps),
    ]
    for name, (said, written) in _TOLD.items():
        if not numbers.is_missing(value := row.get(name)):
            told.append((said, written(value)))
    return [(name, said) for name, said in told if said]


def _differs(row: dict[Any, Any], changes: list[Change]) -> list[Block]:
    """The fields that are not the reference's, on the run's rung."""
    mine = [item for item in changes if not item.rungs or str(row["rung"]) in item.rungs.split(", ")]
    if not mine:
        return [Block("soft", "Configured as the reference.")] if row["variant"] == REFERENCE else []
    sheet = Sheet(("field as configured", "reference → this run"))
    for item in mine:
        sheet.add(Mark(item.field, "code"), f"{item.old} → {item.new}")
    return [Block("table", sheet)]


def _texts(content: Content, run_id: str, sample: object) -> list[Block]:
    """The end of what the run printed, and what its model wrote."""
    found = []
    if log := _tail(RunDir.of(content.sweep_dir.parent, run_id)):
        found += [Block("title", "End of its log"), Block("pre", log)]
    if isinstance(sample, str) and sample:
        found += [Block("title", "What it wrote"), Block("pre", sample[:_SAMPLE])]
    return found


def _tail(run_dir: RunDir) -> str:
    if not run_dir.log_path.is_file():  # a pipe would wait for a writer
        return ""
    try:
        with run_dir.log_path.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - _LOG_BYTES))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return printable("\n".join(text.rstrip().split("\n")[-_LOG_LINES:]))
