"""The decision rule of a sweep, fixed and hashed before the first run starts.

A variant is compared with the reference on three axes: the metric at equal optimizer steps, at equal
wall-clock time and at equal training FLOPs. Each axis asks either for superiority or only for "not worse by
more than a margin" (methodology §2). The rule is data; ``promotion/`` carries it out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sweepkit import errors
from sweepkit.config import facts, holdout, typed
from sweepkit.config.facts import block, fact
from sweepkit.config.ranges import Range, at_least, below_one, each
from sweepkit.sweep import metric as metrics
from sweepkit.sweep import set_fields
from sweepkit.sweep.futility_rule import EVALUATIONS, FutilityRule

AXES = ("steps", "wall_clock", "flops")
SUPERIOR: Literal["superior"] = "superior"
NOT_WORSE = "not_worse"
#: Of a cost axis that is not judged.
IGNORE: Literal["ignore"] = "ignore"
Demand = Literal["superior", "not_worse"]
CostDemand = Literal["superior", "not_worse", "ignore"]
_FEW_UNSELECTED, _MANY_UNSELECTED, _VARIANTS_AN_UNSELECTED = 2, 8, 5
_SMALLEST_ALPHA = 1e-12  # quantiles below are those of no data
_ALPHA = Range(
    lambda value: _SMALLEST_ALPHA <= value < 0.5, f"lie between {_SMALLEST_ALPHA:g} and 0.5", "0.05 is usual"
)
_MIN_EFFECT = Range(
    at_least(0).holds,
    "be 0 or more and finite, in the metric's unit",
    "0.0003 is about one seed's noise at d12",
)
_MARGIN = Range(below_one().holds, "be a ratio from 0 up to 1", "0.02 allows 2% more")


@dataclass(frozen=True)
class Demands:
    """What is asked of a variant on each axis."""

    steps: Demand = fact(SUPERIOR, "the metric at equal optimizer steps")
    wall_clock: CostDemand = fact(NOT_WORSE, "the metric at equal training time")
    flops: CostDemand = fact(NOT_WORSE, "the metric at equal training FLOPs")

    @property
    def judged(self) -> dict[str, str]:
        """Axis → ``superior`` or ``not_worse``, of those that are judged."""
        return {axis: demand for axis in AXES if (demand := getattr(self, axis)) != IGNORE}

    def without(self, axes: Iterable[str]) -> Demands:
        """These, with some cost axes not judged."""
        ignored: dict[str, Any] = dict.fromkeys(axes, IGNORE)
        return replace(self, **ignored)


#: Nothing but the metric at equal steps.
STEPS_ALONE = Demands(wall_clock=IGNORE, flops=IGNORE)


@dataclass(frozen=True)
class Margins:
    """How much worse, as a ratio, still counts as not worse: 0.02 is 2%."""

    steps: float | None = fact(None, "at equal steps; null: none", _MARGIN, unit="ratio")
    wall_clock: float | None = fact(0.02, "at equal training time", _MARGIN, unit="ratio")
    flops: float | None = fact(0.02, "at equal training FLOPs", _MARGIN, unit="ratio")

    @property
    def given(self) -> dict[str, float]:
        """Axis → margin, of those that have one."""
        return {axis: margin for axis in AXES if (margin := getattr(self, axis)) is not None}


@dataclass(frozen=True)
class DecisionRule:
    """What counts as better."""

    metric: str = fact("val_bpb", "column compared: val_bpb, bpb_<stream>, or another number of the runs")
    alpha: float = fact(0.05, "family-wise error rate over a rung's variants", _ALPHA)
    min_effect: float = fact(0.0003, "smallest improvement worth having, in the metric's unit", _MIN_EFFECT)
    axes: Demands = block(Demands, "what each axis asks for")
    margins: Margins = block(Margins, "how much worse still counts as not worse")
    num_unselected: int | None = fact(
        None,
        "variants that lost and climb all the same, drawn at random and never adopted, so that transfer "
        "is measured without selection; null: 2, one in five from 10 variants, 8 from 40",
        Range(
            at_least(0).holds, "be a whole number, 0 or more", "leave it out, or write 0 to save their runs"
        ),
    )
    looks: tuple[int, ...] = fact(
        (),
        "numbers of seeds at which the last rung is looked at, growing; the last is the most that may be "
        "spent; none: once, with all seeds",
        Range(
            lambda looks: all(n >= 2 for n in looks) and list(looks) == sorted(set(looks)),
            "be growing numbers of seeds, 2 or more",
            "write looks: [3, 5, 8]",
        ),
    )
    futility: FutilityRule | None = fact(
        None,
        "stops variants within a rung that can no longer reach min_effect; null: all run to their ends",
        is_sparse=True,
    )
    scale_sensitive: dict[str, int] = fact(
        {},
        "field or block of the configuration → depth below which a variant that changes it is not decided, "
        "but climbs",
        each(Range(at_least(1).holds, "be a depth, a whole number of at least 1", "write {precision: 24}")),
    )
    last_metric: str | None = fact(
        None,
        "the column on the last rung; null: that of text which no rung below used, where there is a rung "
        "below and such text",
        example="val_bpb",
    )
    scores: dict[str, float] = fact(
        {},
        "column that is better when higher (score_core) → margin in its unit: on the last rung a variant "
        "shown to be lower by more is rejected; scores never speak for a variant",
        each(Range(at_least(0).holds, "be 0 or more, in the score's unit", "write 0.01")),
    )
    direction: Literal["lower", "higher"] | None = fact(
        None, "which way the metric is better; null: as is known of it"
    )
    unit: str | None = fact(
        None,
        "what the metric is counted in, for words and axes; null: as is known of it",
        example="bits/byte",
    )

    def __post_init__(self) -> None:
        facts.check_ranges(self, "decision.")
        self._check_direction()
        self._check_futility()

    def _check_direction(self) -> None:
        """Every metric's direction is known, and one for all rungs."""
        named = {key: name for key in ("metric", "last_metric") if (name := getattr(self, key)) is not None}
        for key, name in named.items():
            found = metrics.known(name)
            if found is None and self.direction is None:
                near = f"did you mean {meant!r}? or " if (meant := metrics.meant(name)) else ""
                raise errors.invalid(
                    f"decision.{key}",
                    name,
                    f"be one of {', '.join(metrics.names())}, or come with its direction",
                    f"{near}write decision.direction=lower (or higher) beside it",
                )
            if found is not None and self.direction not in (None, found.direction):
                raise errors.invalid(
                    "decision.direction",
                    self.direction,
                    f"be {found.direction}, which is better for {name}",
                    "leave it out",
                )
        directions = set(map(self._direction_of, named.values()))
        if len(directions) > 1:
            raise errors.invalid(
                "decision.last_metric",
                self.last_metric,
                f"be better in the same direction as {self.metric}",
                "name another column, or leave it out",
            )

    def _check_futility(self) -> None:
        """What is stopped for not reaching min_effect is what had to, on a curve that is logged."""
        if self.futility is None:
            return
        if self.axes.steps != SUPERIOR:
            raise errors.invalid(
                "decision.futility",
                typed.dump(self.futility),
                "be left out where axes.steps is not_worse: nothing has to reach min_effect at equal steps",
                "leave it out, or write axes: {steps: superior}",
            )
        is_interim = metrics.is_stream(self.metric) and not self.metric.startswith(metrics.EMA)
        if self.futility.curve == EVALUATIONS and not is_interim:
            raise errors.invalid(
                "decision.futility.curve",
                self.futility.curve,
                f"be loss for {self.metric}, which is measured at the end alone",
                "write curve: loss, and learn the boundary from that",
            )

    def _direction_of(self, name: str) -> str:
        found = metrics.known(name)
        return self.direction or (found.direction if found else metrics.LOWER)

    @property
    def is_higher_better(self) -> bool:
        return self._direction_of(self.metric) == metrics.HIGHER

    @property
    def sign(self) -> int:
        """What turns the metric into a loss: 1, or -1 where higher is better."""
        return -1 if self.is_higher_better else 1

    @property
    def unit_in_words(self) -> str:
        """The metric's unit, as an axis or a sentence names it; ``""`` where it has none."""
        found = metrics.known(self.metric)
        return self.unit if self.unit is not None else found.unit if found else ""

    def num_unselected_of(self, num_variants: int) -> int:
        """How many variants that lost climb, of so many in the sweep."""
        if self.num_unselected is not None:
            return self.num_unselected
        return min(_MANY_UNSELECTED, max(_FEW_UNSELECTED, num_variants // _VARIANTS_AN_UNSELECTED))

    @classmethod
    def from_json(cls, value: object) -> DecisionRule:
        """A rule from a ``decision:`` block, or from what ``typed.dump`` made of one.

        Raises:
            ConfigError: an unknown key, a wrong type or a value out of range.
        """
        return typed.load(cls, as_written(value), "decision", is_referenced=True)

    @classmethod
    def amended(cls, overrides: Sequence[str], base: DecisionRule | None = None) -> DecisionRule:
        """A rule with settings of the command line, as ``decision.alpha=0.01``, on top.

        Raises:
            ConfigError: an override is none of the rule's, or its value breaks the contract.
        """
        value: dict[str, Any] = typed.dump(base) if base else {}
        for item in overrides:
            key, setting = set_fields.split(item, "command line")
            if not key.startswith("decision."):
                raise errors.invalid(
                    "command line", item, "set the decision rule", "write decision.alpha=0.01"
                )
            _set(value, key.removeprefix("decision."), setting)
        return cls.from_json(value)


def as_written(value: Any) -> Any:
    """``value``, a ``decision:`` block, checked for what its defaults hide.

    Raises:
        ConfigError: the metric is of another unit than the default ``min_effect``, or one of the last rung's.
    """
    given = value if isinstance(value, Mapping) else {}
    metric = given.get("metric", "val_bpb")
    if not isinstance(metric, str):
        return value
    if "min_effect" not in given and not metrics.is_stream(metric):
        near = f"did you mean {meant!r}? or " if (meant := metrics.meant(metric)) else ""
        raise errors.invalid(
            "decision.min_effect",
            None,
            f"be given for {metric}: the default is one of bits per byte",
            f"{near}write decision.min_effect=VALUE, the smallest improvement worth having in its unit",
        )
    if holdout.base(metric):
        raise errors.invalid(
            "decision.metric",
            metric,
            "be a text that every rung is evaluated on (a holdout is the last rung's)",
            f"write last_metric: {metric}",
        )
    return value


def _set(value: dict[str, Any], dotted: str, item: Any) -> None:
    *blocks, last = dotted.split(".")
    for name in blocks:
        value = value.setdefault(name, {})
        if not isinstance(value, dict):
            raise errors.invalid(
                f"decision.{dotted}",
                item,
                f"name a setting ({name} holds none)",
                f"write decision.{name}=VALUE",
            )
    value[last] = item
