"""Which runs of a sweep may be stopped for futility, when its cells are started."""

from __future__ import annotations

from collections.abc import Sequence

from sweepkit.launch.hopeless import Watch
from sweepkit.sweep import curves_alike
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.frozen import Frozen


def watch(sweep: Frozen, cells: Sequence[Cell]) -> Watch | None:
    """Those of variants that are decided on their rung, and whose curves compare; None where there are none.

    Not of what runs to measure transfer alone, of what is declared sensitive to scale, or of amendments.
    """
    if sweep.decision.futility is None:
        return None
    from sweepkit.promotion import deferred, verdict_file  # heavy, and needed for such a rule alone

    carried = {name for result in verdict_file.read(sweep).values() for name in result.unselected}
    found: list[str] = []
    for rung in sweep.rungs:
        planned = [cell for cell in sweep.cells if cell.rung == rung.name]
        names = curves_alike.comparable(planned) - carried
        names -= deferred.deferred(planned, sweep.decision).keys()
        found += [cell.plan.run_id for cell in cells if cell.rung == rung.name and cell.variant in names]
    return Watch(sweep.name, tuple(found)) if found else None
