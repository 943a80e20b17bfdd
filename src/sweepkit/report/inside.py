"""What goes on inside runs, for pages: findings as a table, and the plots of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from markupsafe import Markup

from sweepkit.analysis import diagnosis
from sweepkit.analysis.diagnosis import Diagnosis
from sweepkit.analysis.diagnosis_case import Case, Finding
from sweepkit.plan.run_plan import RunPlan
from sweepkit.printable import counted
from sweepkit.report import plots_inside
from sweepkit.report.content import Content
from sweepkit.report.page_block import Block
from sweepkit.report.sheet import Sheet
from sweepkit.results.record import RunDir

#: Runs that a sweep's page has room to picture.
_PICTURED = 8
_TOLD = ("what looks wrong", "what usually causes it")


def findings(found: Iterable[tuple[str, Diagnosis]]) -> Sheet:
    """A row a finding, under the label of its run."""
    sheet = Sheet(("run", ">step", *_TOLD))
    for label, item in found:
        for finding in item.findings:
            sheet.add(label, *_row(finding), new_group=finding is item.findings[0])
    return sheet


def _row(finding: Finding) -> tuple[str, str, str]:
    return "" if finding.step is None else str(finding.step), finding.said, finding.cause


def pictures(run_dir: RunDir, plan: RunPlan) -> list[Block]:
    """The plots of a run; none where nothing was measured."""
    case = Case.of(run_dir, plan)
    if not case.rows:
        return []
    return [
        Block("figure", Markup(plots_inside.ratios(case)), "The dashed line is where a long run settles."),
        Block("figure", Markup(plots_inside.heat_maps(case))),
        Block("figure", Markup(plots_inside.histograms(case)), "Share of a group's gradients by size."),
    ]


def of_run(run_dir: RunDir, plan: RunPlan) -> list[Block]:
    """All that there is to say and to show of one run."""
    item = diagnosis.of(run_dir, plan)
    sheet = Sheet((">step", *_TOLD), [list(_row(finding)) for finding in item.findings])
    said = [Block("table", sheet)] if item.findings else []
    well = [] if said or item.state == "planned" else [Block("", "Nothing looks wrong.")]
    missing = [Block("soft", f"Not looked at: {line}.") for line in item.missing]
    notes = [Block("soft", f"{line}.") for line in item.notes]
    return [*said, *well, *notes, *missing, *pictures(run_dir, plan)]


def of_sweep(content: Content) -> list[Block]:
    """What looks wrong in any run; plots of those and of a run of every variant, as far as there is room.

    Nothing of commands, whose insides nobody measures.
    """
    if content.frozen is None or not isinstance(content.frozen.cells[0].plan, RunPlan):
        return []
    results_dir = content.sweep_dir.parent
    cells = {cell.plan.run_id: cell for cell in content.frozen.cells}
    found = {
        run_id: diagnosis.of(RunDir.of(results_dir, run_id), cell.own)
        for run_id, cell in cells.items()
        if RunDir.of(results_dir, run_id).record_path.exists()
    }
    labels = {
        run_id: f"{cell.rung} · {cell.variant} · seed {cell.plan.seed}" for run_id, cell in cells.items()
    }
    wrong = [run_id for run_id, item in found.items() if item.findings]
    first = {(cells[run_id].rung, cells[run_id].variant): run_id for run_id in reversed(found)}
    pictured = [
        (run_id, blocks)
        for run_id in list(dict.fromkeys([*wrong, *reversed(first.values())]))[:_PICTURED]
        if (blocks := pictures(RunDir.of(results_dir, run_id), cells[run_id].own))
    ]
    if not wrong and not pictured:
        return []
    well = f"Nothing looks wrong in {counted(len(found) - len(wrong), 'run')}."
    table = [Block("table", findings((labels[run_id], found[run_id]) for run_id in wrong))] if wrong else []
    missing = Counter(line for item in found.values() for line in item.missing)
    said = [Block("soft", f"Not looked at in {counted(n, 'run')}: {line}.") for line, n in missing.items()]
    folds = [Block("fold", f"{labels[run_id]} ({run_id})", blocks) for run_id, blocks in pictured]
    return [*table, Block("", well), *said, *folds]
