"""A variant beside the reference, document by document: the effect over text, and which text it comes from.

Runs are paired by seed; of several runs of the reference with one seed the mean counts. All were evaluated on
the same documents, or nothing is compared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sweepkit.analysis import over_text
from sweepkit.analysis.effects import Effect
from sweepkit.analysis.over_text import Fewest, Interval
from sweepkit.results.document_losses import DocumentLosses, ScoredText

Array = npt.NDArray[np.float64]
#: A variant's run and the reference's with the same seed.
Pair = tuple[DocumentLosses, DocumentLosses]
#: Upper ends of classes of documents by their length, in bytes.
LENGTHS = {"below 1 KiB": 1 << 10, "1 to 4 KiB": 1 << 12, "4 to 16 KiB": 1 << 14, "16 KiB and more": 1 << 62}


@dataclass(frozen=True)
class Gain:
    """One variant's effect, over seeds and over text.

    Attributes:
        n: pairs of runs.
        documents: scored.
        effect: in bits per byte; below 0 the variant is better.
        seeds: interval over seeds, with the noise that verdicts use; None where there is none.
        text: over documents.
        both: over seeds and documents.
        fewest: documents that the effect rests on.
    """

    n: int
    documents: int
    effect: float
    seeds: Interval | None
    text: Interval | None
    both: Interval | None
    fewest: Fewest | None


@dataclass(frozen=True)
class Part:
    """One class of the text.

    Attributes:
        by: source, length, position or kind.
        part: the class.
        bytes_frac: its share of the text.
        reference: the reference's bits per byte on it.
        effect: the variant's less the reference's, in bits per byte of this class.
        se_seeds, se_text: standard errors of ``effect``; None where there is one seed, or one document.
        adds: what it adds to the whole effect, in bits per byte of all text; classes sum to the effect.
    """

    by: str
    part: str
    bytes_frac: float
    reference: float
    effect: float
    se_seeds: float | None
    se_text: float | None
    adds: float


def gain(pairs: Sequence[Pair], seeds: Effect | None, confidence: float) -> Gain:
    """The effect over seeds and over text.

    Args:
        pairs: at least one.
        seeds: what verdicts make of the same runs, for its noise; None where they make nothing of them.
            Of more runs than have losses by document it is the noise of another mean, and not used.
    """
    is_scored_N = pairs[0][0].text.bytes_N > 0
    nats_N, bytes_N = _difference(pairs)[is_scored_N], pairs[0][0].text.bytes_N[is_scored_N].astype(float)
    effect_C, se_C = over_text.ratio(nats_N[:, None], bytes_N[:, None])
    effect, of_text = float(effect_C[0]), (float(se_C[0]), len(nats_N) - 1.0)
    error = None
    if seeds is not None and seeds.standard_error is not None and seeds.n == len(pairs):
        error = (seeds.standard_error, seeds.df)
    return Gain(
        len(pairs),
        len(nats_N),
        effect,
        None if error is None else Interval.of(effect, *error, confidence),
        None if math.isnan(of_text[0]) else Interval.of(effect, *of_text, confidence),
        over_text.both(effect, error, of_text, confidence),
        over_text.fewest(nats_N, bytes_N),
    )


def parts(pairs: Sequence[Pair]) -> list[Part]:
    """Every class of the text by source, by length, by position in the row and by kind of token.

    The last two are left out where runs have unlike tokenizers: their tokens are not the same.
    """
    text = pairs[0][0].text
    found = _sorted_documents(pairs, "source", text.sources, text.source_N.astype(np.int64))
    lengths = np.searchsorted(list(LENGTHS.values()), text.length_N, side="right")
    found += _sorted_documents(pairs, "length", list(LENGTHS), lengths)
    if len({item.text.tokenizer for pair in pairs for item in pair}) == 1:
        for how, classes in text.classes.items():
            sides = [[item.class_nats[how] for item in pair] for pair in pairs]
            found += _parts(how, classes.names, sides, classes.bytes_GC, text)
    return found


def _difference(pairs: Sequence[Pair]) -> Array:
    """Nats of every document, the variant's less the reference's, mean over pairs."""
    found: Array = np.mean([own.nats_N - base.nats_N for own, base in pairs], axis=0)
    return found


def _sorted_documents(
    pairs: Sequence[Pair], by: str, names: Sequence[str], class_N: npt.NDArray[np.int64]
) -> list[Part]:
    """Classes of whole documents."""
    text = pairs[0][0].text
    is_of_NC = class_N[:, None] == np.arange(len(names))
    sides = [[np.where(is_of_NC, item.nats_N[:, None], 0.0) for item in pair] for pair in pairs]
    return _parts(by, names, sides, np.where(is_of_NC, text.bytes_N[:, None], 0), text)


def _parts(
    by: str,
    names: Sequence[str],
    sides: Sequence[Sequence[Array]],
    bytes_NC: npt.NDArray[np.int64],
    text: ScoredText,
) -> list[Part]:
    """Args: ``sides``: of every pair the variant's and the reference's nats [N, C]."""
    size = float(text.bytes_N.sum())
    own, base = (np.mean([pair[side] for pair in sides], axis=0) for side in (0, 1))
    reference_C, _ = over_text.ratio(base, bytes_NC)
    effect_C, se_C = over_text.ratio(own - base, bytes_NC)
    of_pair_SC = np.array([over_text.ratio(pair[0] - pair[1], bytes_NC)[0] for pair in sides])
    num = len(sides)
    found = []
    for place, name in enumerate(names):
        if not (mine := float(bytes_NC[:, place].sum())):
            continue
        between = float(of_pair_SC[:, place].std(ddof=1)) / math.sqrt(num) if num > 1 else None
        se_text = float(se_C[place])
        found.append(
            Part(
                by,
                name,
                mine / size,
                float(reference_C[place]),
                float(effect_C[place]),
                between,
                None if math.isnan(se_text) else se_text,
                float(effect_C[place]) * mine / size,
            )
        )
    return found
