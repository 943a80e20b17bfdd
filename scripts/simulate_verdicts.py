"""Error rates of one rung's verdicts in the frozen worlds, beside their bars; ``make simulate-verdicts``.

    python scripts/simulate_verdicts.py --worlds 2000 --out results/published/error_rates/verdicts.csv

A row a cell: world, design, how many variants are truly better, worlds, share with a false promotion and its
bar, share of the better ones shown, share that waits; half the 95% Monte-Carlo interval of the share that
counts; and the first two shares by the rule that takes noise as equal and suspects nobody.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import sys
from pathlib import Path
from typing import Any

from sweepkit import fsio
from sweepkit.promotion.simulation import verdicts
from sweepkit.sweep import published_seal


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worlds", type=int, default=2000, help="of each cell (default: 2000)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="cells whose world's name contains this")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--out", type=Path, required=True, help="a CSV")
    args = parser.parse_args()
    content = verdicts.load()
    cells = [cell for cell in verdicts.cells(content) if args.only in cell.rung.name]
    asked = [(cell, args.worlds, args.seed) for cell in cells]
    rows = []
    with multiprocessing.Pool(args.jobs) as pool:
        for found in pool.imap(_measure, asked):
            rows.append(_row(content, found))
            print(*rows[-1].values(), sep="  ", flush=True)
    lines: list[list[Any]] = [list(rows[0]), *(list(row.values()) for row in rows)]
    fsio.write_text(args.out, "".join(",".join(map(str, line)) + "\n" for line in lines))
    published_seal.renew(args.out.parent)
    return 0


def _measure(asked: tuple[verdicts.Cell, int, int]) -> verdicts.Rates:
    return verdicts.measure(*asked)


def _row(content: dict[str, Any], found: verdicts.Rates) -> dict[str, Any]:
    cell = found.cell
    bar = verdicts.bar(content, cell)
    share = found.promoted if found.shown is None else found.shown
    return {
        "world": cell.rung.name,
        "seeds": cell.design,
        "better": cell.num_better,
        "worlds": found.num_worlds,
        "false_promotion": round(found.promoted, 4),
        "bar": "" if bar is None else bar,
        "shown": _rounded(found.shown),
        "waits": round(found.waits, 4),
        "error": round(1.96 * math.sqrt(share * (1 - share) / found.num_worlds), 4),
        "trusting_false_promotion": _rounded(found.trusting_promoted),
        "trusting_shown": _rounded(found.trusting_shown),
    }


def _rounded(share: float | None) -> float | str:
    return "" if share is None else round(share, 4)


if __name__ == "__main__":
    sys.exit(main())
