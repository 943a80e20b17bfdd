"""``isoflop:`` of a sweep file: budgets × sizes from a range, as the levels of one axis.

    base: [experiment=mini, launcher=local]
    isoflop: {flops: [2e11, 2e12], budgets: 3, depths: [1, 2, 3, 4, 6], aspect_ratios: [16, 32, 48]}

At every budget the best size is expected where it would see ``tokens_per_param`` tokens a parameter; from the
models that depths and aspect ratios give, so many are taken that lie about evenly in log N from that size
divided by ``spread`` to that size times it. Each run spends its budget (``horizon.target_flops``); ``sweepkit
fit`` reads what they say.
"""

from __future__ import annotations

import bisect
import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sweepkit import errors
from sweepkit.config import compose, typed
from sweepkit.config.facts import REQUIRED, fact
from sweepkit.config.ranges import Range, at_least, more_than_zero
from sweepkit.plan import sizing

#: Its axis, and the fewest sizes that a parabola should stand on.
AXIS = KEY = "isoflop"
LEAST_SIZES = 5
_ASCENDING = Range(
    lambda pair: len(pair) == 2 and 0 < pair[0] <= pair[1] and math.isfinite(pair[1]),
    "be the least and the most of it, above 0",
    "write [1e17, 1e19]",
)
_SOME = Range(
    lambda values: len(values) > 0 and all(item >= 1 for item in values),
    "be a list of whole numbers from 1 up",
    "write [6, 8, 10, 12, 16]",
)
#: How far apart budgets lie; ``fit`` takes runs within a factor of 1.25 for one budget's.
_APART = 1.4
#: A chosen size may lie so far beyond the range asked for, in the logarithm.
_SLACK = 0.2


@dataclass(frozen=True)
class IsoflopSpec:
    """The typed content of an ``isoflop:`` block."""

    flops: tuple[float, ...] = fact(
        REQUIRED, "the smallest and the largest budget", _ASCENDING, unit="FLOPs", example="[1e17, 1e19]"
    )
    depths: tuple[int, ...] = fact(
        REQUIRED, "depths that sizes may have", _SOME, example="[6, 8, 10, 12, 16]"
    )
    aspect_ratios: tuple[int, ...] = fact(
        (64,), "aspect ratios that they may have", _SOME, example="[48, 64, 80]"
    )
    budgets: int = fact(4, "how many budgets, evenly in the logarithm", at_least(1))
    sizes: int = fact(7, "how many sizes each", at_least(LEAST_SIZES))
    tokens_per_param: float = fact(
        10.5, "where the best size is expected, by horizon.count", more_than_zero()
    )
    spread: float = fact(
        4.0,
        "from the expected best size / this to × this",
        Range(lambda value: 1 < value < math.inf, "be more than 1"),
    )


@dataclass(frozen=True)
class _Size:
    depth: int
    aspect_ratio: int
    params: int
    flops_per_token: int


def expanded(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a sweep file with the axis that its ``isoflop`` block stands for, and a reference on it.

    Raises:
        ConfigError: the block breaks its contract, an axis of that name is there, or there are too few sizes.
    """
    content = {str(key): item for key, item in content.items()}
    given = content.get(KEY)
    if given is None:
        return content
    if AXIS in (content.get("axes") or {}):
        raise errors.invalid(
            f"axes.{AXIS}", "an axis", f"be left out beside {KEY}, which makes it", "rename it"
        )
    if content.get("ladder") not in (None, "none"):
        remedy = "leave the ladder out, and name its experiment in base"
        raise errors.invalid(
            "ladder", content["ladder"], f"be none beside {KEY}, which sets the sizes", remedy
        )
    spec = typed.load(IsoflopSpec, given, KEY, is_referenced=True)
    _check_budgets(spec)
    base = content.get("base") or ()
    levels = _levels(spec, [base] if isinstance(base, str) else list(map(str, base)))
    reference = {AXIS: list(levels)[len(levels) // 2]}
    return {
        **content,
        "axes": {AXIS: levels, **(content.get("axes") or {})},
        "reference": {**reference, **(content.get("reference") or {})},
        "combine": content.get("combine", "all"),
    }


def fewer(spec: IsoflopSpec, levels: Iterable[str]) -> list[str]:
    """A sentence for each budget that has fewer sizes than were asked for.

    Args:
        levels: of its axis.
    """
    counts = Counter(level.rpartition("-d")[0] for level in levels)
    return [
        f"{budget} FLOPs: {count} sizes instead of {spec.sizes}, for isoflop.depths and "
        "isoflop.aspect_ratios give no model of its own near every place of an even spacing; "
        "more depths or ratios may"
        for budget, count in counts.items()
        if count < spec.sizes
    ]


def _check_budgets(spec: IsoflopSpec) -> None:
    """Budgets that a fit tells apart (it takes runs within a quarter for one), and one alone as such.

    Raises:
        ConfigError: they lie closer, or one stands for a range.
    """
    low, high = spec.flops
    if spec.budgets == 1:
        if low != high:
            remedy = f"write flops: [{low:g}, {low:g}], or more budgets"
            raise errors.invalid(f"{KEY}.budgets", 1, "be 2 or more for a range of flops", remedy)
    elif math.log(high / low) / (spec.budgets - 1) <= math.log(_APART):
        contract = (
            f"be so few that each is {_APART:g} times the one below or more, for a fit to tell them apart"
        )
        raise errors.invalid(f"{KEY}.budgets", spec.budgets, contract, "lower it, or widen flops")


def _levels(spec: IsoflopSpec, base: Sequence[str]) -> dict[str, list[str]]:
    """Level → overrides, budget by budget, the smallest size first."""
    sizes = _candidates(spec, base)
    found: dict[str, list[str]] = {}
    for log_flops in _evenly(math.log(spec.flops[0]), math.log(spec.flops[1]), spec.budgets):
        budget = float(f"{math.exp(log_flops):.3g}")
        for size in _chosen(spec, sizes, budget):
            found[f"{budget:.3g}-d{size.depth}-a{size.aspect_ratio}".replace("e+", "e")] = [
                f"horizon.target_flops={budget:.3g}",
                f"model.depth={size.depth}",
                f"model.aspect_ratio={size.aspect_ratio}",
            ]
    return found


def _candidates(spec: IsoflopSpec, base: Sequence[str]) -> list[_Size]:
    """Every model of the range once, the smallest first."""
    config = compose.compose(base)
    found: dict[tuple[int, int], _Size] = {}
    for aspect_ratio in spec.aspect_ratios:
        for depth in spec.depths:
            model = dataclasses.replace(config.model, depth=depth, aspect_ratio=aspect_ratio)
            sized = sizing.size(dataclasses.replace(config, model=model))
            params = sized.scaling_params(config.horizon.count)
            found.setdefault((depth, sized.width), _Size(depth, aspect_ratio, params, sized.flops_per_token))
    return sorted(found.values(), key=lambda size: size.params)


def _chosen(spec: IsoflopSpec, sizes: Sequence[_Size], budget: float) -> list[_Size]:
    """Sizes about evenly in log N about the one that is expected to be best."""
    log_N = [math.log(size.params) for size in sizes]
    log_ratio = [
        math.log(budget / size.flops_per_token / size.params) for size in sizes
    ]  # falls with the size
    wanted, half = math.log(spec.tokens_per_param), math.log(spec.spread)
    slope = (log_ratio[-1] - log_ratio[0]) / (log_N[-1] - log_N[0]) if len(sizes) > 1 else -2.0
    if log_ratio[-1] <= wanted <= log_ratio[0]:
        centre = _interpolated(wanted, log_ratio[::-1], log_N[::-1])
    else:
        end = 0 if wanted > log_ratio[0] else -1
        centre = log_N[end] + (wanted - log_ratio[end]) / slope
    places = {
        min(range(len(log_N)), key=lambda place: abs(log_N[place] - target))
        for target in _evenly(centre - half, centre + half, spec.sizes)
    }
    inside = sorted(place for place in places if abs(log_N[place] - centre) <= half + _SLACK)
    below, above = (sum(side * (log_N[place] - centre) > 0 for place in inside) for side in (-1, 1))
    if len(inside) < LEAST_SIZES or min(below, above) < 2:
        low, middle, high = (f"{math.exp(centre + shift):.3g}" for shift in (-half, 0.0, half))
        raise errors.invalid(
            f"{KEY}.depths",
            list(spec.depths),
            f"give {LEAST_SIZES} sizes from {low} to {high} parameters for {budget:.3g} FLOPs, two on "
            f"either side of {middle} (there are {len(inside)}, all models: {sizes[0].params:.3g} to "
            f"{sizes[-1].params:.3g})",
            "add depths or aspect_ratios, raise spread, or move flops",
        )
    return [sizes[place] for place in inside]


def _evenly(first: float, last: float, count: int) -> list[float]:
    """From first to last; without numpy, which a plan does not wait for."""
    return [first + (last - first) * place / max(1, count - 1) for place in range(count)]


def _interpolated(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    """At x between the points (xs, ys), xs ascending and around x."""
    right = max(1, min(bisect.bisect_left(xs, x), len(xs) - 1)) if len(xs) > 1 else 0
    left = max(0, right - 1)
    share = (x - xs[left]) / (xs[right] - xs[left]) if xs[right] > xs[left] else 0.0
    return ys[left] + share * (ys[right] - ys[left])
