"""Where a gain comes from: a sweep's effects over text, and by part of the text.

Worked out from the losses by document that lie beside the runs; read from its tables where it is published.
They decide nothing: a verdict is over seeds, and what is said here stands beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pandas as pd

from sweepkit.analysis import calibration, calibration_file, effects, frontier, gain_by_document
from sweepkit.analysis.effects import Effect
from sweepkit.analysis.gain_by_document import Gain, Pair, Part
from sweepkit.errors import DamagedError
from sweepkit.printable import counted
from sweepkit.promotion.verdict_record import Outcome, Verdict
from sweepkit.report import numbers
from sweepkit.report.content import Content
from sweepkit.report.summary import COMPLETE
from sweepkit.results import asked, document_losses
from sweepkit.results.columns import REFERENCE, is_reference
from sweepkit.results.document_losses import DocumentLosses
from sweepkit.results.record import RunDir
from sweepkit.sweep import published_seal

_WHOLE = [
    "rung", "variant", "metric", "n", "documents", "effect", "confidence", "seeds_low", "seeds_high",
    "text_low", "text_high", "low", "high", "fewest", "fewest_bytes_frac", "left", "is_few", "note",
]  # fmt: skip
_PARTS = ["rung", "variant", "metric", *Part.__dataclass_fields__]
_GAINS = (Outcome.promote, Outcome.adopt)
_NONE_KEPT = "no losses by document were kept"
_OTHER_TEXT = "the runs were not evaluated on the same text"
_UNPAIRED = "no seed is shared with the reference"


@dataclass
class _Found:
    """The runs of a rung by variant and data order, and why others are not among them."""

    kept: dict[str, dict[str, list[DocumentLosses]]] = field(default_factory=dict)
    why: dict[str, list[str]] = field(default_factory=dict)


def documents(content: Content) -> pd.DataFrame:
    """A row a rung and variant: the effect over seeds, over text and over both, and what it rests on."""
    if (path := content.sweep_dir / published_seal.DOCUMENTS).is_file():
        return pd.read_csv(path, keep_default_na=True)
    rows: list[dict[str, Any]] = []
    for rung, variant, metric, pairs, of_seeds, note in _compared(content):
        confidence = 1.0 - 2.0 * content.rule_on(rung).alpha
        row: dict[str, Any] = {"rung": rung, "variant": variant, "metric": metric, "confidence": confidence}
        if pairs:
            row |= _row(gain_by_document.gain(pairs, of_seeds, confidence))
        rows.append(row | {"note": note})
    return pd.DataFrame(rows, columns=_WHOLE)


def _row(found: Gain) -> dict[str, Any]:
    row: dict[str, Any] = {"n": found.n, "documents": found.documents, "effect": found.effect}
    named = {"seeds_": found.seeds, "text_": found.text, "": found.both}
    for start, interval in named.items():
        if interval is not None:
            row |= {f"{start}low": interval.low, f"{start}high": interval.high}
    if found.fewest is not None:
        fewest = found.fewest
        row |= {"fewest": fewest.documents, "fewest_bytes_frac": fewest.bytes_frac}
        row |= {"left": fewest.left, "is_few": fewest.are_few}
    return row


def breakdown(content: Content) -> pd.DataFrame:
    """A row a rung, variant and class of the text: by source, length, position in the row, kind of token."""
    if (path := content.sweep_dir / published_seal.BREAKDOWN).is_file():
        return pd.read_csv(path, keep_default_na=True)
    rows = [
        {"rung": rung, "variant": variant, "metric": metric} | asdict(part)
        for rung, variant, metric, pairs, _, _ in _compared(content)
        if pairs
        for part in gain_by_document.parts(pairs)
    ]
    return pd.DataFrame(rows, columns=_PARTS)


def leaning(frame: pd.DataFrame, verdicts: Iterable[Verdict]) -> list[str]:
    """A sentence for every verdict that shows a gain or a harm which rests on a few documents.

    An effect about 0 loses half of itself with any document, and nothing is claimed of it.

    Args:
        frame: ``documents``.
    """
    claimed = {(item.rung, item.variant) for item in verdicts if item.outcome in _GAINS or _is_worse(item)}
    told = frame[frame["is_few"].isin([True])]
    return [
        f"{row.rung}, {row.variant}: {_leans(row)}"
        for row in told.itertuples()
        if (row.rung, row.variant) in claimed
    ]


def _is_worse(verdict: Verdict) -> bool:
    """Whether a rejected variant is shown to be worse; of losses, where higher is worse."""
    low = verdict.evidence.effect.low
    return verdict.outcome is Outcome.reject and low is not None and low > 0.0


def _leans(row: Any) -> str:
    few, share = counted(int(row.fewest), "document"), numbers.percent(row.fewest_bytes_frac)
    return (
        f"rests on a few documents. Without {few} of {int(row.documents)} ({share} of the text) the effect "
        f"on {row.metric} is {numbers.change(row.left)} instead of {numbers.change(row.effect)}"
    )


Compared = tuple[str, str, str, list[Pair], Effect | None, str | None]


def _compared(content: Content) -> Iterator[Compared]:
    """Every variant of every rung: its pairs of runs, what verdicts make of them, and what is missing."""
    if content.imported is not None:  # nobody kept them
        return
    measured = calibration_file.read(content.sweep_dir.parent)
    for rung in content.rungs:
        rule = content.rule_on(rung)
        name = document_losses.name_of(rule.metric)
        runs = content.runs[(content.runs["rung"] == rung) & (content.runs["state"] == COMPLETE)]
        done = frontier.without_horizons(runs)
        if name is None or rule.metric not in done or done.empty:
            continue
        found = _read(done, name, content)
        known = calibration.fitting(measured, done[done["variant"] == REFERENCE], rule.metric)
        of_seeds = {it.variant: it for it in effects.effects(done, rule.metric, rule.alpha, known=known)}
        base = found.kept.get(REFERENCE, {})
        for variant in dict.fromkeys(map(str, done["variant"])):
            if is_reference(variant):
                continue
            mine = found.kept.get(variant, {})
            shared = [key for key in mine if key in base]
            pairs = [(document_losses.mean(mine[key]), document_losses.mean(base[key])) for key in shared]
            why = found.why.get(variant, []) + found.why.get(REFERENCE, [])
            if len({item.text.fingerprint for pair in pairs for item in pair}) > 1:
                pairs, why = [], [_OTHER_TEXT]
            elif not pairs and not why:
                why = [_UNPAIRED]
            yield rung, variant, rule.metric, pairs, of_seeds.get(variant), _said(why, content.name)


def _read(done: pd.DataFrame, name: str, content: Content) -> _Found:
    found, blocks = _Found(), effects.block_names(done)
    for row, block in zip(done.itertuples(), blocks, strict=True):
        run_dir, variant = RunDir.of(content.sweep_dir.parent, str(row.run_id)), str(row.variant)
        key = str(row.evaluation_key)
        try:
            if not document_losses.path(run_dir, key).exists():
                raise FileNotFoundError
            record = asked.read(run_dir, key)
            kept = document_losses.read(run_dir, key, record.results if record else {})
            found.kept.setdefault(variant, {}).setdefault(block, []).append(kept[name])
        except (FileNotFoundError, KeyError):
            found.why.setdefault(variant, []).append(_NONE_KEPT)
        except DamagedError as error:
            found.why.setdefault(variant, []).append(f"{error.path} is damaged ({error.why})")
    return found


def _said(why: Sequence[str], sweep: str) -> str | None:
    if not why:
        return None
    told = "; ".join(reason if n == 1 else f"{reason} ({n} runs)" for reason, n in Counter(why).items())
    is_kept = not any(reason in (_OTHER_TEXT, _UNPAIRED) for reason in why)
    return f"{told}: missing; `sweepkit evaluate {sweep}` makes them of kept weights" if is_kept else told
