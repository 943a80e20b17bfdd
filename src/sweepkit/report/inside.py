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
from sweepkit.report import chart_data, plots_inside
from sweepkit.report.content import Content
from sweepkit.report.page_block import Block, Drawn
from sweepkit.report.sheet import Sheet
from sweepkit.results import diagnosed
from sweepkit.results.record import RunDir

#: Runs that a sweep's page has room to picture.
_PICTURED = 8
_TOLD = ("what looks wrong", "what usually causes it")


def findings(found: Iterable[tuple[str, Diagnosis]]) -> Sheet:
    """A row a finding, under the label and the id of its run."""
    sheet = Sheet(("cell", "run", ">step", *_TOLD))
    for label, item in found:
        for finding in item.findings:
            sheet.add(label, item.run_id, *_row(finding), new_group=finding is item.findings[0])
    return sheet


def told(item: Diagnosis) -> list[Block]:
    """What looks wrong in one run."""
    sheet = Sheet(("when", *_TOLD))
    for step, *said in map(_row, item.findings):
        sheet.add(f"step {step}" if step else "", *said)
    return [Block("table", sheet)] if item.findings else []


def _row(finding: Finding) -> tuple[str, str, str]:
    return "" if finding.step is None else str(finding.step), finding.said, finding.cause


def pictures(run_dir: RunDir, plan: RunPlan, *, ratios_alone: bool = False) -> list[Block]:
    """The plots of a run; none where nothing was measured.

    Args:
        ratios_alone: for a page of many runs: what is drawn of few numbers.
    """
    case = Case.of(run_dir, plan)
    if not case.rows:
        return []
    settles = "The dashed line is where a long run settles."
    ratios = Block("chart", Drawn(f"ratios-{plan.run_id}", chart_data.ratios(case)), settles)
    if ratios_alone:
        return [ratios]
    return [
        ratios,
        Block("figure", Markup(plots_inside.heat_maps(case))),
        Block("figure", Markup(plots_inside.histograms(case)), "Share of a group's gradients by size."),
    ]


def of_run(run_dir: RunDir, plan: RunPlan) -> list[Block]:
    """All that there is to say and to show of one run."""
    item = diagnosis.of(run_dir, plan)
    said = told(item)
    well = [] if said or item.state == "planned" else [Block("", "Nothing looks wrong.")]
    missing = [Block("soft", f"Not looked at: {line}.") for line in item.missing]
    notes = [Block("soft", f"{line}.") for line in item.notes]
    return [*said, *well, *notes, *missing, *pictures(run_dir, plan)]


def of_sweep(content: Content) -> list[Block]:
    """What looks wrong in any run; their plots are in the panels of the runs."""
    found = content.diagnoses
    wrong = {run_id: item for run_id, item in found.items() if item.findings}
    results = content.sweep_dir.parent
    if not wrong and not any((RunDir.of(results, run_id).path / diagnosed.FILE).exists() for run_id in found):
        return []
    labels = {cell.plan.run_id: cell.label for cell in content.frozen.cells} if content.frozen else {}
    told = findings((labels[run_id], item) for run_id, item in wrong.items())
    table = [Block("table", told)] if wrong else []
    well = f"Nothing looks wrong in {counted(len(found) - len(wrong), 'run')}."
    missing = Counter(line for item in found.values() for line in item.missing)
    said = [Block("soft", f"Not looked at in {counted(n, 'run')}: {line}.") for line, n in missing.items()]
    return [*table, Block("", well), *said]


def pictured(content: Content) -> set[str]:
    """Runs all of whose plots a page has room for: those that look wrong, and the first of every variant."""
    cells = {cell.plan.run_id: cell for cell in content.frozen.cells} if content.frozen else {}
    found = content.diagnoses
    wrong = [run_id for run_id, item in found.items() if item.findings]
    first = {(cells[run_id].rung, cells[run_id].variant): run_id for run_id in reversed(found)}
    return set(list(dict.fromkeys([*wrong, *reversed(first.values())]))[:_PICTURED])
