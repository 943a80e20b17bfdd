"""docs/findings.md: the published record beside what this project ran.

    python scripts/findings.py          the page, from sweeps/findings/record.yaml and what is committed
    python scripts/findings.py --run    first every sweep of the record that is missing; ``make findings``
    python scripts/findings.py --run finding_parts --into results/published/findings

What is claimed, by what it is judged and at which level was written down before the runs. Every number of the
page comes from a committed folder, so that a test makes it again.
"""

from __future__ import annotations

import argparse
import math
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd
from finding_scores import scored_on, scores
from scipy import stats

from sweepkit import fsio
from sweepkit.analysis.effects import SAME
from sweepkit.config import paths, typed, yaml_words
from sweepkit.promotion.verdict_record import Promotion, Verdict
from sweepkit.report import committed, markdown, numbers
from sweepkit.report.sheet import Sheet
from sweepkit.sweep import published_seal

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "sweeps" / "findings" / "record.yaml"
COMMITTED = ROOT / "results" / "published" / "findings"
PAGE = ROOT / "docs" / "findings.md"
EXPERIMENTS = ROOT / "docs" / "reference" / "experiments.csv"
INTRODUCTION = """
What was published of the method, what this project ran of it, and what came out. Claims, sweeps and
criteria were written down before the runs ([record.yaml](../sweeps/findings/record.yaml)); p is two-sided,
Holm over all claims that were measured, intervals of {confidence}. An effect is clear of 0 where that p is
at most the record's alpha, which asks more than an interval of one claim that leaves out 0. *Agrees*: the
published sign, clear of 0. *No gain*: even the good end of the interval is short of `min_effect`; where no
effect was published, this agrees. *Differs*: clear of 0 with the other sign. *Not shown*: neither. All of
it at mini scale, in fp32 where nothing else is said, on text of megabytes: what differs here says nothing
against the published finding at its own scale. `make findings` runs what is missing and makes this page.
"""
SIGNS = {"better": -1, "worse": 1, "none": 0}


@dataclass(frozen=True)
class Claim:
    """One variant of a sweep against its reference, and what was published of it."""

    sweep: str
    variant: str
    published: Literal["better", "worse", "none"]
    says: str
    rung: str = "single"
    experiment: str = ""  # its row in docs/reference/experiments.csv


@dataclass(frozen=True)
class Clock:
    """Variants of a sweep whose gain a step is held beside what a step costs."""

    sweep: str
    variants: list[str]


@dataclass(frozen=True)
class Heading:
    """A heading of the record.

    Attributes:
        compares: larger and smaller: sweeps whose largest effects are held beside each other.
        layouts: rows that were scored → the sweep that scored its variants on them.
        scores: the sweep whose models were asked items.
        elsewhere: where it is shown by no sweep of this record, by what it is, or would be.
    """

    title: str
    published: str
    claims: list[Claim] = field(default_factory=list)
    clock: Clock | None = None
    compares: dict[str, str] = field(default_factory=dict)
    layouts: dict[str, str] = field(default_factory=dict)
    scores: str = ""
    elsewhere: str = ""
    note: str = ""


@dataclass(frozen=True)
class Record:
    """sweeps/findings/record.yaml."""

    alpha: float
    headings: list[Heading]

    @property
    def claims(self) -> list[Claim]:
        return [claim for heading in self.headings for claim in heading.claims]

    @property
    def sweeps(self) -> list[str]:
        return list(dict.fromkeys(claim.sweep for claim in self.claims))


@dataclass(frozen=True)
class Finding:
    """What came out of a claim.

    Attributes:
        effect, low, high: variant minus reference, with an interval at 1 − α; None: not measured.
        p: two-sided, Holm over the measured claims.
        word: agrees, differs, no gain, not shown or not run yet.
    """

    claim: Claim
    word: str
    effect: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    n: int = 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--run", nargs="*", metavar="SWEEP", help="first run these; without a name: what is missing"
    )
    parser.add_argument("--into", type=Path, default=COMMITTED, help="default: results/published/findings")
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where the page is another")
    args = parser.parse_args()
    record = load()
    if args.run is not None:
        missing = [name for name in record.sweeps if not (args.into / name / "promotion.json").is_file()]
        for name in args.run or missing:
            if status := _run(name, args.into):
                return status
    text = page(record, args.into)
    if args.check:
        return int(PAGE.read_text() != text)
    fsio.write_text(PAGE, text)
    return 0


def load() -> Record:
    return typed.load(Record, yaml_words.read(RECORD.read_text()))


def _run(name: str, into: Path) -> int:
    """Run a sweep to its verdicts and publish it; goes on where it was stopped."""
    words = ["promote", file_of(name), "launcher=local", "--underpowered"]
    if status := subprocess.run([sys.executable, "-m", "sweepkit", *words], cwd=ROOT, check=False).returncode:
        return status
    committed.publish(name, paths.results_dir(), into, shlex.join(["sweepkit", *words]))
    return 0


def file_of(name: str) -> str:
    """A sweep's file: of this record alone, or one that is shipped for everybody."""
    own = f"sweeps/findings/{name}.yaml"
    return own if (ROOT / own).is_file() else f"sweeps/{name}.yaml"


def findings(record: Record, folder: Path) -> list[Finding]:
    """Every claim with what came out; p values corrected by Holm over those that were measured."""
    for name in record.sweeps:
        published_seal.check(folder / name)
    promotions = {
        name: typed.load(Promotion, fsio.read_json(folder / name / "promotion.json"))
        for name in record.sweeps
        if (folder / name / "promotion.json").is_file()
    }
    measured = [(claim, _verdict(promotions, claim)) for claim in record.claims]
    raw = [_two_sided(verdict) for _, verdict in measured]
    corrected = _holm(raw)
    return [
        _finding(claim, verdict, p, promotions, record.alpha)
        for (claim, verdict), p in zip(measured, corrected, strict=True)
    ]


def _verdict(promotions: Mapping[str, Promotion], claim: Claim) -> Verdict | None:
    rungs = promotions[claim.sweep].rungs if claim.sweep in promotions else []
    here = [item for rung in rungs if rung.rung == claim.rung for item in rung.verdicts]
    return next((item for item in here if item.variant == claim.variant), None)


def _two_sided(verdict: Verdict | None) -> float | None:
    if verdict is None or verdict.effect.effect is None or not verdict.effect.standard_error:
        return None
    return float(
        2 * stats.t.sf(abs(verdict.effect.effect / verdict.effect.standard_error), verdict.effect.df)
    )


def _holm(raw: Sequence[float | None]) -> list[float | None]:
    places = sorted((p, place) for place, p in enumerate(raw) if p is not None)
    found: list[float | None] = [None] * len(raw)
    running = 0.0
    for rank, (p, place) in enumerate(places):
        running = max(running, min(1.0, p * (len(places) - rank)))
        found[place] = running
    return found


def _finding(
    claim: Claim, verdict: Verdict | None, p: float | None, promotions: Mapping[str, Promotion], alpha: float
) -> Finding:
    if claim.sweep not in promotions:
        return Finding(claim, "not run yet")
    if verdict is not None and verdict.effect.method == SAME:
        word = "agrees" if claim.published == "none" else "no gain"
        return Finding(claim, f"{word}: equal to the last bit", 0.0, 0.0, 0.0, None, verdict.effect.n)
    if verdict is None or p is None or verdict.effect.effect is None or verdict.effect.standard_error is None:
        return Finding(claim, "not shown")
    is_higher_better = promotions[claim.sweep].decision.is_higher_better
    effect, error = verdict.effect.effect, verdict.effect.standard_error
    if is_higher_better:  # judged as a loss, shown as it is
        effect = -effect
    half = error * float(stats.t.isf(alpha / 2, verdict.effect.df))
    low, high = effect - half, effect + half
    sign, min_effect = SIGNS[claim.published], promotions[claim.sweep].decision.min_effect
    if p <= alpha:
        found = "agrees" if math.copysign(1, effect) == sign else "differs"
    elif low > -min_effect:
        found = "no gain"
    else:
        found = "not shown"
    if found == "differs" and sign == 0 and -min_effect < low and high < min_effect:
        found = "no gain"  # an effect that is there, and too small to matter
    if found == "no gain" and claim.published == "none":
        found = "agrees"
    if is_higher_better:
        effect, low, high = -effect, -high, -low
    return Finding(claim, found, effect, low, high, p, verdict.effect.n)


def page(record: Record, folder: Path) -> str:
    """docs/findings.md."""
    by_claim = {id(item.claim): item for item in findings(record, folder)}
    parts = ["# Findings", " ".join(INTRODUCTION.format(confidence=f"{1 - record.alpha:.0%}").split())]
    for number, heading in enumerate(record.headings, start=1):
        parts += [f"## {number}. {heading.title}", f"Published: {heading.published}"]
        mine = [by_claim[id(claim)] for claim in heading.claims]
        parts += _section(heading, mine, folder, record.alpha)
    parts += ["## Published experiments", _experiments(record, by_claim)]
    return "\n\n".join(parts) + "\n"


def _section(heading: Heading, found: Sequence[Finding], folder: Path, alpha: float) -> list[str]:
    parts = []
    if found:
        sheet = Sheet(("claim", "published", ">effect", ">interval", ">p", ">n", "sweep", "found"))
        for item in found:
            claim, ran = item.claim, item.effect is not None
            where = (
                claim.sweep
                if not (folder / claim.sweep).is_dir()
                else f"[{claim.sweep}]({_link(claim.sweep)})"
            )
            place = where if claim.rung == "single" else f"{where} {claim.rung}"
            interval = f"{numbers.change(item.low)} to {numbers.change(item.high)}" if ran else ""
            p = "" if item.p is None else f"{item.p:.2g}"
            effect = numbers.change(item.effect) if ran else ""
            sheet.add(claim.says, claim.published, effect, interval, p, str(item.n or ""), place, item.word)
        parts.append(markdown.table(sheet))
        sweeps = dict.fromkeys(item.claim.sweep for item in found)
        lines = [f"    sweepkit promote {file_of(name)} launcher=local --underpowered" for name in sweeps]
        parts.append("Run as:\n\n" + "\n".join(lines))
    if heading.clock:
        parts.append(_clock(heading.clock, folder))
    if heading.compares:
        parts.append(_compared(heading.compares, folder))
    if heading.layouts:
        parts.append(scored_on(heading.layouts, folder))
    if heading.scores:
        parts.append(scores(heading.scores, folder, alpha))
    return [*parts, *filter(None, (heading.elsewhere, heading.note))]


def _experiments(record: Record, found: Mapping[int, Finding]) -> str:
    """Every published experiment, and what came out where this record has a claim of it."""
    sheet = Sheet(("date", "experiment", "published effect", "published verdict", "here"))
    for row in pd.read_csv(EXPERIMENTS).to_dict("records"):
        mine = [claim for claim in record.claims if claim.experiment == row["experiment"]]
        said = "; ".join(f"{found[id(claim)].word} ({claim.says})" for claim in mine)
        here = said or f"not tried ({row['expressed_as']})"
        sheet.add(row["date"], row["experiment"], row["published_effect"], row["published_verdict"], here)
    return markdown.table(sheet)


def _link(sweep: str) -> str:
    return f"../results/published/findings/{sweep}/README.md"


def _verdicts(sweep: str, folder: Path) -> list[Verdict]:
    path = folder / sweep / "promotion.json"
    if not path.is_file():
        return []
    return [item for rung in typed.load(Promotion, fsio.read_json(path)).rungs[-1:] for item in rung.verdicts]


def _clock(clock: Clock, folder: Path) -> str:
    """The effect a step beside the time of a step, of variants that were published as slower."""
    sheet = Sheet(("variant", ">effect at equal steps", ">time", ">FLOPs", "verdict on three axes"))
    for item in _verdicts(clock.sweep, folder):
        if item.variant in clock.variants and item.effect.effect is not None:
            ratios = [item.evidence.axes[name].ratio for name in ("wall_clock", "flops")]
            shown = ["" if ratio is None else f"{ratio:.3f}×" for ratio in ratios]
            sheet.add(item.variant, numbers.change(item.effect.effect), *shown, item.outcome.value)
    return markdown.table(sheet) if sheet.rows else f"Not run yet: {clock.sweep}."


def _compared(compares: Mapping[str, str], folder: Path) -> str:
    """The largest effects of two sweeps beside each other."""
    largest = {}
    for which, sweep in compares.items():
        effects = [
            (item.effect.effect, item.variant)
            for item in _verdicts(sweep, folder)
            if item.effect.effect is not None
        ]
        if not effects:
            return f"Not run yet: {sweep}."
        largest[which] = max(effects, key=lambda item: abs(item[0]))
    (one, its), (other, others) = largest["larger"], largest["smaller"]
    word = "larger than" if abs(one) > abs(other) else "no larger than"
    return (
        f"The largest effect of a source ({its}: {numbers.change(one)}, on the neutral text) is {word} the "
        f"largest of a change of architecture or optimizer ({others}: {numbers.change(other)}, on the usual "
        "one)."
    )


if __name__ == "__main__":
    sys.exit(main())
