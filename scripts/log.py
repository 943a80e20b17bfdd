"""docs/log.md: the dated experiment log, newest first, from what is committed under results/published.

    python scripts/log.py            writes the page
    python scripts/log.py --check    writes nothing; 1 where the page is another

An entry's figures come from the committed folder. What was learned and not measured is a paragraph by hand
in results/published/log.yaml, under the folder's name; one without the other is refused.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from sweepkit import fsio
from sweepkit.config import typed, yaml_words
from sweepkit.promotion.verdict_record import Final, Promotion
from sweepkit.report import numbers
from sweepkit.report.content import gather

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "results" / "published"
PAGE = ROOT / "docs" / "log.md"
INTRODUCTION = """\
# Experiment log

Every sweep whose tables are committed, newest first, failures included. Figures are the folder's; the
paragraph under them was written by hand. `python scripts/log.py` makes this page. By claim instead of by
date: [findings.md](findings.md).
"""


@dataclass(frozen=True)
class Entry:
    """One committed sweep.

    Attributes:
        folder: below results/published.
        ended: when its last run did.
        text: its section.
    """

    folder: str
    ended: pd.Timestamp
    text: str


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where the page is another")
    text = page(PUBLISHED)
    if parser.parse_args().check:
        return int(PAGE.read_text() != text)
    fsio.write_text(PAGE, text)
    return 0


def page(published: Path) -> str:
    """The log.

    Raises:
        ValueError: a committed sweep has no paragraph, or a paragraph no sweep.
    """
    by_hand = typed.load(dict[str, str], yaml_words.read((published / "log.yaml").read_text()))
    folders = {str(path.parent.relative_to(published)) for path in published.rglob("promotion.json")}
    for name in sorted(folders ^ set(by_hand)):
        lacks = "has no committed sweep" if name in by_hand else "is a committed sweep without a paragraph"
        raise ValueError(f"results/published/log.yaml: {name} {lacks}; write both or none")
    entries = [_entry(published, name, by_hand[name]) for name in folders]
    entries.sort(key=lambda entry: (entry.ended, entry.folder), reverse=True)
    return "\n".join([INTRODUCTION, *(entry.text for entry in entries)])


def _entry(published: Path, name: str, words: str) -> Entry:
    folder = published / name
    content = gather(folder.name, folder.parent)
    runs, promotion = content.runs, content.promotion
    if content.frozen is None or promotion is None:
        raise ValueError(f"{folder} has no plan or no decision; publish it again")
    ended = runs["ended_at"].max()
    counts = Counter(runs["state"].astype(str)).most_common()
    states = ", ".join(f"{count} {state}" for state, count in counts)
    rungs = " → ".join(dict.fromkeys(runs.sort_values("depth")["rung"].astype(str)))
    finals = Counter(item.outcome.value for item in promotion.finals)
    counted = ", ".join(f"{finals[word]} {word}" for word in ("adopted", "rejected", "inconclusive"))
    adopted = [item.variant for item in promotion.finals if item.outcome is Final.adopted]
    rule = promotion.decision
    lines = [
        f"## {ended:%Y-%m-%d} · [{name}](../results/published/{name}/README.md)\n",
        f"{content.frozen.question}\n",
        f"- {states}; {rungs}; {numbers.duration(runs['train_time_s'].sum())} of training, "
        f"{runs['total_flops'].sum():.2e} FLOPs; {', '.join(runs['hardware'].dropna().unique())}",
        f"- {rule.metric}, α = {rule.alpha:g}, min_effect {rule.min_effect:g}: {counted}"
        + (f": {', '.join(adopted)}" if adopted else ""),
        *(_largest(promotion)),
        f"\n{' '.join(words.split())}\n",
    ]
    return Entry(name, ended, "\n".join(lines))


def _largest(promotion: Promotion) -> list[str]:
    """The best effect of the last rung that judged something."""
    for rung in reversed(promotion.rungs):
        known = [(item.effect, item.variant) for item in rung.verdicts if item.effect.effect is not None]
        if known:
            best, variant = min(known, key=lambda pair: pair[0].effect or 0.0)
            sign = -1 if promotion.decision.is_higher_better else 1
            effect = numbers.change(sign * (best.effect or 0.0))
            return [f"- best on {rung.rung}: {variant}, {effect} (n = {best.n})"]
    return []


if __name__ == "__main__":
    sys.exit(main())
