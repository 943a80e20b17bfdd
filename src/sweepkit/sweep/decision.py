"""The decision rule of a sweep, fixed and hashed before the first run starts.

A variant is compared with the reference on three axes: the metric at equal optimizer steps, at equal
wall-clock time and at equal training FLOPs. Each axis asks either for superiority or only for "not worse by
more than a margin" (methodology §2). The rule is data; ``promotion/`` carries it out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from sweepkit import errors
from sweepkit.config import holdout
from sweepkit.sweep import metric as metrics
from sweepkit.sweep import override

AXES = ("steps", "wall_clock", "flops")
SUPERIOR = "superior"
NOT_WORSE = "not_worse"
#: In words, of a cost axis that is not judged; such an axis is absent from the rule.
IGNORE = "ignore"
_FEW_UNSELECTED, _MANY_UNSELECTED, _VARIANTS_AN_UNSELECTED = 2, 8, 5
_SMALLEST_ALPHA = 1e-12  # quantiles below are those of no data
_TEXTS = {"metric": "val_bpb", "last_metric": "val_bpb", "direction": "lower", "unit": "bits/byte"}
DEFAULT_AXES = {"steps": SUPERIOR, "wall_clock": NOT_WORSE, "flops": NOT_WORSE}
DEFAULT_MARGINS = {"wall_clock": 0.02, "flops": 0.02}


@dataclass(frozen=True)
class DecisionRule:
    """What counts as better.

    Attributes:
        metric: column compared: ``val_bpb``, ``bpb_<stream>``, or another number of the runs (``metric.py``).
        direction: which way it is better, ``lower`` or ``higher``; None: as ``metric.py`` knows it.
        unit: what it is counted in, for words and axes; None: as ``metric.py`` knows it.
        last_metric: the column on the last rung; None: that of text which no rung below used, where there is
            a rung below and such text (``last_rung.py``).
        alpha: family-wise error rate over a rung's variants.
        min_effect: smallest improvement worth having, in the metric's unit.
        axes: per axis that is judged ``superior`` or ``not_worse``; ``ignore`` in a file switches one off.
        num_unselected: how many variants that lost climb all the same, drawn at random and never adopted, so
            that transfer is measured without selection; None: 2, one in five from 10 variants, 8 from 40.
        margins: per cost axis, how much worse (as a ratio, 0.02 is 2%) still counts as not worse.
        looks: numbers of seeds at which the last rung is looked at, increasing; the last is the most that may
            be spent. Empty: once, with all seeds.
        scores: column that is better when higher (``score_core``) → margin, in its unit: on the last rung a
            variant shown to be lower by more is rejected. Scores never speak for a variant.
        scale_sensitive: field or block of the configuration → depth below which a variant that changes it is
            not decided, but climbs.
    """

    metric: str = "val_bpb"
    alpha: float = 0.05
    min_effect: float = 0.0003
    axes: dict[str, str] = field(default_factory=lambda: dict(DEFAULT_AXES))
    margins: dict[str, float] = field(default_factory=lambda: dict(DEFAULT_MARGINS))
    num_unselected: int | None = None
    looks: tuple[int, ...] = ()
    scale_sensitive: dict[str, int] = field(default_factory=dict)
    last_metric: str | None = None
    scores: dict[str, float] = field(default_factory=dict)
    direction: str | None = None
    unit: str | None = None

    def __post_init__(self) -> None:
        self._check_direction()
        if not _SMALLEST_ALPHA <= self.alpha < 0.5:
            raise errors.invalid(
                "decision.alpha", self.alpha, f"lie between {_SMALLEST_ALPHA:g} and 0.5", "0.05 is usual"
            )
        if not 0.0 <= self.min_effect < math.inf:
            raise errors.invalid(
                "decision.min_effect",
                self.min_effect,
                "be 0 or more and finite, in the metric's unit",
                "0.0003 is about one seed's noise at d12",
            )
        if self.num_unselected is not None and (
            type(self.num_unselected) is not int or self.num_unselected < 0
        ):
            raise errors.invalid(
                "decision.num_unselected",
                self.num_unselected,
                "be a whole number, 0 or more",
                "leave it out, or write 0 to save their runs",
            )
        if any(n < 2 for n in self.looks) or list(self.looks) != sorted(set(self.looks)):
            raise errors.invalid(
                "decision.looks",
                list(self.looks),
                "be growing numbers of seeds, 2 or more",
                "write looks: [3, 5, 8]",
            )
        for axis, demand in self.axes.items():
            _check_axis("decision.axes", axis)
            if demand not in (SUPERIOR, NOT_WORSE):
                raise errors.invalid(
                    f"decision.axes.{axis}",
                    demand,
                    f"be {SUPERIOR} or {NOT_WORSE}" + ("" if axis == "steps" else f", or {IGNORE}"),
                    errors.did_you_mean(str(demand), (SUPERIOR, NOT_WORSE, IGNORE)),
                )
        for name, margin in self.scores.items():
            if not margin >= 0.0:
                raise errors.invalid(
                    f"decision.scores.{name}", margin, "be 0 or more, in the score's unit", "write 0.01"
                )
        for axis, margin in self.margins.items():
            _check_axis("decision.margins", axis)
            if not 0.0 <= margin < 1.0:
                raise errors.invalid(
                    f"decision.margins.{axis}", margin, "be a ratio from 0 up to 1", "0.02 allows 2% more"
                )

    def _check_direction(self) -> None:
        """Every metric's direction is known, and one for all rungs."""
        if self.direction not in (None, *metrics.DIRECTIONS):
            raise errors.invalid(
                "decision.direction",
                self.direction,
                f"be {' or '.join(metrics.DIRECTIONS)}, the way in which {self.metric} is better",
                errors.did_you_mean(str(self.direction), metrics.DIRECTIONS),
            )
        for name in filter(None, (self.metric, self.last_metric)):
            found = metrics.known(name)
            if found is None and self.direction is None:
                raise errors.invalid(
                    "decision.metric",
                    name,
                    f"be one of {', '.join(metrics.names())}, or come with its direction",
                    "write decision.direction=lower (or higher) beside it",
                )
            if found is not None and self.direction not in (None, found.direction):
                raise errors.invalid(
                    "decision.direction",
                    self.direction,
                    f"be {found.direction}, which is better for {name}",
                    "leave it out",
                )
        directions = {self._direction_of(name) for name in filter(None, (self.metric, self.last_metric))}
        if len(directions) > 1:
            raise errors.invalid(
                "decision.last_metric",
                self.last_metric,
                f"be better in the same direction as {self.metric}",
                "name another column, or leave it out",
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

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        axes = {axis: self.axes.get(axis, IGNORE) for axis in AXES if axis in self.axes or axis != "steps"}
        return asdict(self) | {"axes": axes, "looks": list(self.looks)}

    @classmethod
    def amended(cls, overrides: Sequence[str], base: DecisionRule | None = None) -> DecisionRule:
        """A rule with settings of the command line, as ``decision.alpha=0.01``, on top.

        Raises:
            ConfigError: an override is none of the rule's, or its value breaks the contract.
        """
        value: dict[str, Any] = base.to_json() if base else {}
        for item in overrides:
            key, setting = override.split(item, "command line")
            if not key.startswith("decision."):
                raise errors.invalid(
                    "command line", item, "set the decision rule", "write decision.alpha=0.01"
                )
            _set(value, key.removeprefix("decision."), setting)
        return cls.from_json(value)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DecisionRule:
        """A rule from a ``decision:`` block or from ``to_json``; what is left out has its default.

        Raises:
            ConfigError: an unknown key, a wrong type or a value out of range.
        """
        known = [item.name for item in fields(cls)]
        for key in value:
            if key not in known:
                raise errors.invalid(
                    f"decision.{key}", value[key], "be a known key", errors.did_you_mean(str(key), known)
                )
        given: dict[str, Any] = dict(value)
        if "min_effect" not in given and not metrics.is_stream(str(given.get("metric", "val_bpb"))):
            raise errors.invalid(
                "decision.min_effect",
                None,
                f"be given for {given['metric']}: the default is one of bits per byte",
                "write decision.min_effect=VALUE, the smallest improvement worth having in its unit",
            )
        for key in ("alpha", "min_effect"):
            if key in given:
                given[key] = _number(f"decision.{key}", given[key])
        _check_columns(given)
        if "axes" in given:
            asked = DEFAULT_AXES | dict(_mapping("decision.axes", given["axes"]))
            given["axes"] = {
                axis: demand for axis, demand in asked.items() if demand != IGNORE or axis == "steps"
            }
        if "margins" in given:
            margins = _mapping("decision.margins", given["margins"])
            given["margins"] = DEFAULT_MARGINS | {
                axis: _number(f"decision.margins.{axis}", margin) for axis, margin in margins.items()
            }
        if "scores" in given:
            margins = _mapping("decision.scores", given["scores"])
            given["scores"] = {
                str(name): _number(f"decision.scores.{name}", margin) for name, margin in margins.items()
            }
        if "scale_sensitive" in given:
            depths = _mapping("decision.scale_sensitive", given["scale_sensitive"])
            if not all(type(depth) is int and depth > 0 for depth in depths.values()):
                raise errors.invalid(
                    "decision.scale_sensitive",
                    dict(depths),
                    "map fields to depths, whole numbers",
                    "write {precision: 24}",
                )
            given["scale_sensitive"] = {str(name): depth for name, depth in depths.items()}
        if "looks" in given:
            given["looks"] = _counts("decision.looks", given["looks"])
        return cls(**given)


def _set(value: dict[str, Any], dotted: str, item: Any) -> None:
    *blocks, last = dotted.split(".")
    for block in blocks:
        value = value.setdefault(block, {})
        if not isinstance(value, dict):
            raise errors.invalid(
                f"decision.{dotted}",
                item,
                f"name a setting ({block} holds none)",
                f"write decision.{block}=VALUE",
            )
    value[last] = item


def _check_columns(given: Mapping[str, Any]) -> None:
    for key, example in _TEXTS.items():
        if given.get(key) is not None and not isinstance(given[key], str):
            raise errors.invalid(f"decision.{key}", given[key], "be text", f"write {key}: {example}")
    if holdout.base(given.get("metric", "")):
        raise errors.invalid(
            "decision.metric",
            given["metric"],
            "be a text that every rung is evaluated on (a holdout is the last rung's)",
            f"write last_metric: {given['metric']}",
        )


def _check_axis(field_name: str, axis: str) -> None:
    if axis not in AXES:
        raise errors.invalid(
            field_name, axis, f"name one of {', '.join(AXES)}", errors.did_you_mean(axis, AXES)
        )


def _mapping(field_name: str, value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise errors.invalid(field_name, value, "map names to values", "write {name: value, ...}")
    return value


def _counts(field_name: str, value: object) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or not all(type(item) is int for item in value):
        raise errors.invalid(field_name, value, "be a list of whole numbers", "write looks: [3, 5, 8]")
    return tuple(value)


def _number(field_name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise errors.invalid(field_name, value, "be a number", "write it without quotes, as 0.05")
    return float(value)
