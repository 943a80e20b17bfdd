"""An effect's interval over text, and whether it rests on a few documents.

Seeds say what training again would change; documents say what other text of the same kind would. Documents
are clusters: their tokens are not independent, so each is drawn or not drawn as a whole. Every run scores the
same documents, so differences are taken document by document.

The effect is Σ Δnats / (ln 2 × Σ bytes), the metric's own weights: a ratio of sums over documents. Its
standard error is that of a ratio estimator (Cochran 1977, Sampling Techniques, chapter 6): what each document
is off from the ratio, squared and summed. Seeds and documents are crossed. Their variances are added, which
counts the noise of a single cell twice and so errs on the wide side, as the bootstrap over both does (Owen
2007, The pigeonhole bootstrap); degrees of freedom are Satterthwaite's.

Few documents: the most influential ones are left out, one more at a time, until the effect has lost half of
itself or its sign. If that takes no more than 1 in 100 documents (or one), it rests on a few. Those whose
single absence moves the effect most go first, as in Broderick, Giordano and Meager (2020, arXiv 2011.14999),
whose customary share is the same 1%.

Shapes: N documents or blocks of them, C classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

Array = npt.NDArray[np.float64]

#: Leaving out this share of the documents may not take ...
FEW = 0.01
#: ... so much of the effect.
LOST = 0.5


@dataclass(frozen=True)
class Interval:
    """Standard error, degrees of freedom and interval of an effect."""

    se: float
    df: float
    low: float
    high: float

    @classmethod
    def of(cls, effect: float, se: float, df: float, confidence: float) -> Interval:
        half = float(special.stdtrit(df, 0.5 + confidence / 2)) * se
        return cls(se, df, effect - half, effect + half)


@dataclass(frozen=True)
class Fewest:
    """The fewest documents without which an effect is half as large or less.

    Attributes:
        documents: how many; the most influential ones.
        bytes_frac: their share of the text.
        left: the effect without them.
        are_few: whether they are ``FEW`` or fewer.
    """

    documents: int
    bytes_frac: float
    left: float
    are_few: bool


def ratio(nats_NC: Array, bytes_NC: npt.NDArray[Any]) -> tuple[Array, Array]:
    """Bits per byte of every class, [C], and the standard error over rows that have bytes of it.

    NaN where no row has, or for the error one alone.

    Args:
        nats_NC: nats, or differences of nats, of every document (or block of them) and class.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        bits_C = math.log(2) * bytes_NC.sum(axis=0)
        effect_C = nats_NC.sum(axis=0) / bits_C
        off_NC = nats_NC - effect_C * math.log(2) * bytes_NC
        num_C = (bytes_NC > 0).sum(axis=0)
        se_C = np.sqrt(num_C / (num_C - 1) * (off_NC**2).sum(axis=0)) / bits_C
    return effect_C, np.where(num_C > 1, se_C, np.nan)


def both(
    effect: float, seeds: tuple[float, float] | None, text: tuple[float, float], confidence: float
) -> Interval | None:
    """The interval over seeds and text together.

    Args:
        seeds, text: standard error and degrees of freedom of each; seeds None where there is one run.
    """
    if seeds is None or math.isnan(text[0]):
        return None
    parts = [(se**2, df) for se, df in (seeds, text)]
    variance = math.fsum(part for part, _ in parts)
    if variance == 0.0:
        return Interval(0.0, seeds[1], effect, effect)
    df = variance**2 / math.fsum(part**2 / df for part, df in parts)
    return Interval.of(effect, math.sqrt(variance), df, confidence)


def fewest(nats_N: Array, bytes_N: Array) -> Fewest | None:
    """What an effect rests on; None where there is no effect or no second document.

    Args:
        nats_N: differences of nats.
    """
    nats, size = float(nats_N.sum()), float(bytes_N.sum())
    rest_N = size - bytes_N
    if nats == 0.0 or not (rest_N > 0).all():
        return None
    sign = math.copysign(1.0, nats)
    without_N = (nats - nats_N) / rest_N  # the effect without each, in nats per byte
    order = np.argsort(sign * without_N, kind="stable")[:-1]  # one stays
    left_N = (nats - np.cumsum(nats_N[order])) / (size - np.cumsum(bytes_N[order]))
    is_lost = sign * left_N <= (1 - LOST) * abs(nats / size)
    if not is_lost.any():
        return None
    num = int(np.argmax(is_lost)) + 1
    share = float(bytes_N[order[:num]].sum()) / size
    left = float(left_N[num - 1]) / math.log(2)
    return Fewest(num, share, left, num <= max(1, int(FEW * len(nats_N))))
