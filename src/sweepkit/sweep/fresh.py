"""Seeds with which nothing was seen yet, in place of those that a sweep lists.

A listed seed with which a run of the sweep was seen (``seen.py``) is replaced, for all variants of its rung
alike so that pairs stay pairs, by the next integer that the sweep does not use and with which nothing was
seen either. On the rungs above a search it is not known yet which points come there, so there a seed is
fresh where nothing at all was trained at that depth with it. Where it is searched nothing is decided, so
that what was seen there is only of use.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from sweepkit.sweep import expand
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.file import SweepFile
from sweepkit.sweep.seen import Past, Seen


def with_fresh_seeds(sweep: SweepFile, results_dir: Path, extra: Sequence[str] = ()) -> SweepFile:
    """The sweep, seeds with which something was seen replaced. Raises what ``expand.expand_all`` does."""
    past = Past(results_dir, sweep.name)
    if not past.is_known:
        return sweep
    listed: dict[int, int] = {}  # seed that stands now → as it was listed
    while True:
        cells = expand.expand_all(sweep, extra)
        above = {cell.rung for cell in cells[1:] if sweep.search and cell.rung != cells[0].rung}
        judged = [cell for cell in cells if not sweep.search or cell.rung in above]
        seen = {cell.plan.seed for cell in judged if past.seen(cell.plan, of_any_training=cell.rung in above)}
        if not seen:
            return sweep
        taken = {seed: [cell for cell in cells if cell.plan.seed == seed] for seed in sorted(seen)}
        used = {cell.plan.seed for cell in cells} | set(listed)
        for seed, mine in taken.items():
            fresh = next(
                number
                for number in itertools.count(max(used) + 1)
                if not any(past.seen(cell.plan, number, cell.rung in above) for cell in mine)
            )
            used.add(fresh)
            listed[fresh] = listed.get(seed, seed)
        replaced = {first: seed for seed, first in listed.items() if seed not in taken}
        sweep = dataclasses.replace(sweep, replaced_seeds=replaced)


def look(cells: Sequence[Cell], replaced: Mapping[int, int], past: Past) -> Seen:
    """What is known of these cells now, and who had judged runs with the seeds that were replaced."""
    back = {fresh: listed for listed, fresh in replaced.items()}
    runs, witnesses = [], set[str]()
    for cell in cells:
        if found := past.seen(cell.plan):
            runs.append(cell.plan.run_id)
            witnesses.update(found)
        if (listed := back.get(cell.plan.seed)) is not None:
            witnesses.update(past.seen(cell.plan, listed))
    return Seen(tuple(dict.fromkeys(runs)), dict(replaced), past.judged_any(witnesses))
