"""Run a campaign again from nothing, and hold its verdicts against the committed ones; ``make reproduce``.

    python scripts/reproduce.py --into build/reproduce                   all rounds, on the demo's ladder
    python scripts/reproduce.py --into build/reproduce --compare-only    what has run so far

Goes on where it was stopped. A verdict is the same when the variant ended in the same way, on the same rung;
rounds build on each other, so that where one adopts something else, those after it try something else. The
exit status is 1 where a round adopted something else.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sweepkit import fsio
from sweepkit.config import typed
from sweepkit.promotion.verdict_record import Final, Promotion
from sweepkit.sweep import published_seal

ROOT = Path(__file__).parents[1]
COMMITTED = ROOT / "results" / "published" / "rounds"


@dataclass(frozen=True)
class Compared:
    """One round, as committed and as it came out again.

    Attributes:
        variants: all, and ``differing``: variant → how it ended there and here.
        adopted: there and here; None here where it has not been decided again.
    """

    name: str
    variants: int
    differing: dict[str, tuple[str, str]]
    adopted: tuple[list[str], list[str] | None]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--campaign", default="rounds")
    parser.add_argument("--into", type=Path, required=True, help="a results folder of its own")
    parser.add_argument("--committed", type=Path, default=COMMITTED, help="default: results/published/rounds")
    parser.add_argument("--compare-only", action="store_true", help="run nothing")
    parser.add_argument("overrides", nargs="*", default=[], help="default: ladder=demo launcher=local")
    args = parser.parse_args()
    if not args.compare_only:
        overrides = args.overrides or ["ladder=demo", "launcher=local"]
        command = [sys.executable, "-m", "sweepkit", "campaign", args.campaign, *overrides]
        environment = os.environ | {"SWEEPKIT_RESULTS_DIR": str(args.into.absolute())}
        if status := subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
            return status
    found = list(compare(args.committed, args.into))
    for item in found:
        print(in_words(item))
    if not found:
        print(f"nothing is committed in {args.committed}")
    return int(any(item.adopted[1] not in (None, item.adopted[0]) for item in found))


def compare(committed: Path, again: Path) -> Iterator[Compared]:
    """Every committed round beside what it came to again, in the order of their names."""
    for path in sorted(committed.glob("*/promotion.json")):
        published_seal.check(path.parent)
        there = typed.load(Promotion, fsio.read_json(path))
        name, ends = path.parent.name, _ends(there)
        if not (again / name / "promotion.json").is_file():
            yield Compared(name, len(ends), {}, (there.of(Final.adopted), None))
            continue
        here = typed.load(Promotion, fsio.read_json(again / name / "promotion.json"))
        found = _ends(here)
        differing = {
            variant: (ends.get(variant, "not tried"), found.get(variant, "not tried"))
            for variant in {**ends, **found}
            if ends.get(variant) != found.get(variant)
        }
        is_decided = here.finished
        yield Compared(
            name,
            len(ends),
            differing,
            (there.of(Final.adopted), here.of(Final.adopted) if is_decided else None),
        )


def in_words(item: Compared) -> str:
    """A line a round, and one for each variant that ended otherwise."""
    there, here = item.adopted
    if here is None:
        return f"{item.name}: not decided again yet"
    same = item.variants - len(item.differing)
    adopted = ", ".join(there) or "nothing"
    ending = (
        f"adopted {adopted}, as before"
        if here == there
        else f"adopted {', '.join(here) or 'nothing'}, before {adopted}"
    )
    lines = [f"{item.name}: {same} of {item.variants} verdicts the same; {ending}"]
    return "\n".join(
        [*lines, *(f"    {name}: {now}, before {then}" for name, (then, now) in item.differing.items())]
    )


def _ends(promotion: Promotion) -> dict[str, str]:
    return {item.variant: f"{item.outcome.value} on {item.rung}" for item in promotion.finals}


if __name__ == "__main__":
    sys.exit(main())
