"""When a variant is hopeless half way through a rung: ``futility:`` of a ``decision:`` block.

    futility: {looks: [0.25, 0.5], slopes: [0.5, 0.8], floors: [0.004, 0.002], shares: [0.4, 0.2]}

At each look the variant's interim losses are compared with those of the reference's runs of the same seeds
(``analysis/futility.py``); where the chance that is left to reach ``min_effect`` falls below ``chance``, the
variant's runs on that rung are stopped (``launch/hopeless.py``). Non-binding: what is stopped is not
promoted, so that the level is what it was, with the comparisons that were planned. Slopes, floors and shares
are what differences at a look foretold in sweeps that ran to their ends: ``sweepkit simulate --stopping
SWEEP`` learns and prints them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sweepkit import errors
from sweepkit.config import facts
from sweepkit.config.facts import REQUIRED, fact
from sweepkit.config.ranges import Range, at_least

EVALUATIONS, LOSS = "evaluations", "loss"
#: Of the schedule, before a look, that losses are averaged over.
WINDOW = 0.1
#: Pairs of a variant's and the reference's run; with fewer, luck is not told from hopelessness.
MIN_PAIRS = 2

_LOOKS = Range(
    lambda looks: (
        len(looks) > 0 and list(looks) == sorted(set(looks)) and looks[0] >= WINDOW and looks[-1] < 1
    ),
    f"be growing fractions of the schedule, from {WINDOW:g} and below 1",
    "write looks: [0.25, 0.5, 0.75]",
)
_NUMBERS = Range(
    lambda numbers: all(at_least(0).holds(number) for number in numbers),
    "be numbers, 0 or more and finite, one a look",
    "take what sweepkit simulate --stopping SWEEP prints",
)
_CHANCE = Range(lambda chance: 0 < chance <= 0.5, "lie above 0 and at or below 0.5", "0.01 is cautious")


@dataclass(frozen=True)
class FutilityRule:
    """The boundary, one number a look, and the looks."""

    looks: tuple[float, ...] = fact(
        REQUIRED, "fractions of the schedule at which is looked", _LOOKS, example="[0.25, 0.5, 0.75]"
    )
    slopes: tuple[float, ...] = fact(
        REQUIRED,
        "per look: final effect for an interim difference of one",
        _NUMBERS,
        example="[0.5, 0.8, 0.9]",
    )
    floors: tuple[float, ...] = fact(
        REQUIRED,
        "per look: least SD of the final effect about that, in the metric's unit",
        _NUMBERS,
        example="[0.004, 0.002, 0.001]",
    )
    shares: tuple[float, ...] = fact(
        REQUIRED,
        "per look: SD of it for a difference of one, on top of the floor",
        _NUMBERS,
        example="[0.4, 0.2, 0.1]",
    )
    chance: float = fact(0.01, "a variant is stopped where less is left of reaching min_effect", _CHANCE)
    curve: Literal["evaluations", "loss"] = fact(
        EVALUATIONS,
        "what is compared: decision.metric at interim evaluations (evaluation.every_steps), or training loss",
    )

    def __post_init__(self) -> None:
        facts.check_ranges(self, "decision.futility.")
        for name in ("slopes", "floors", "shares"):
            if len(given := getattr(self, name)) != len(self.looks):
                raise errors.invalid(
                    f"decision.futility.{name}",
                    list(given),
                    f"hold a number a look, and there are {len(self.looks)}",
                    "take what sweepkit simulate --stopping SWEEP prints",
                )

    def column(self, metric: str) -> str:
        """Of a learning curve, that is compared."""
        return metric if self.curve == EVALUATIONS else LOSS
