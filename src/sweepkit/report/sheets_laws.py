"""Fits of laws as sheets: a table each for optima, levels, the law, sizes, batches and forecasts."""

from __future__ import annotations

import math
from collections.abc import Callable

from sweepkit.analysis.laws.compute_optimal import ComputeOptimal, Estimate
from sweepkit.analysis.laws.fitting import Fit
from sweepkit.analysis.laws.intervals import Interval
from sweepkit.analysis.laws.optima import Optimum
from sweepkit.analysis.laws.power_law import Law
from sweepkit.printable import counted, degrees
from sweepkit.report import numbers
from sweepkit.report.sheet import Mark, Sheet

Titled = tuple[str, Sheet]
_UNBOUNDED = "unbounded"
_NAMES = {"alpha": "α", "beta": "β", "params_exponent": "N ∝ C^", "tokens_exponent": "D ∝ C^"}


def sheets(found: Fit) -> list[Titled]:
    """Every table that the fit has."""
    question = found.question
    made: list[Titled] = []
    if found.optima:
        made += [(f"Best {question.axis}", _optima(found)), ("Levels", _levels(found))]
    if found.ridges:
        made.append((f"Best {question.axis} and {question.second_axis} together", _ridges(found)))
    if found.batches:
        made.append(("Critical batch", _batches(found)))
    if found.law is not None:
        made.append((f"Law in {found.law.scale_name}", _law(found.law)))
    for sizes in found.sizes:
        made += [
            (f"Surface E + A/N^α + B/D^β, N = {sizes.counting}", _surface(sizes)),
            (f"Best size of each budget, N = {sizes.counting}", _budgets(sizes)),
            (f"What runs change, N = {sizes.counting}", _influence(sizes)),
        ]
    if found.forecast is not None:
        made.append(("Forecast", _forecast(found)))
    return made


def short(value: float | None) -> str:
    """Four digits, as a value is read."""
    if value is None:
        return numbers.MISSING
    return numbers.scaled(value) if abs(value) >= 1e4 else f"{value:.4g}"


def between(interval: Interval | None, show: Callable[[float], str] = short) -> str:
    """``0.01 to 0.03``; an open end is said."""
    if interval is None:
        return numbers.MISSING
    if interval.low is None and interval.high is None:
        return _UNBOUNDED
    low, high = (_UNBOUNDED if end is None else show(end) for end in (interval.low, interval.high))
    return f"{low} to {high}"


def exponent(interval: Interval) -> str:
    return between(interval, lambda value: f"{value:.3f}")


def _percent(log_ratio: float | None) -> str:
    return numbers.MISSING if log_ratio is None else numbers.percent_change(math.exp(log_ratio))


def _optima(found: Fit) -> Sheet:
    question = found.question
    tolerance = [] if question.tolerance is None else [f">loses < {question.tolerance:g}"]
    headers = (question.by or "", ">best", ">interval", ">not distinguishable", *tolerance)
    sheet = Sheet((*headers, ">loss", ">best level", "cliff", "grid"), optional=("best level",))
    for item in found.optima:
        sheet.add(
            Mark(item.group, "strong"),
            _best(item),
            between(item.interval),
            between(item.width),
            *([between(item.tolerated)] if tolerance else []),
            numbers.bpb(item.loss),
            short(item.best_level),
            _cliff(item),
            _grid(item),
        )
    sheet.notes.append(
        f"{100 * question.confidence:g}% intervals (Fieller); not distinguishable: losses that a t test at "
        "that level does not tell from the best"
    )
    for note in dict.fromkeys(note for item in found.optima for note in item.notes):
        groups = [item.group for item in found.optima if note in item.notes]
        sheet.notes.append(note if len(groups) == len(found.optima) else f"{', '.join(groups)}: {note}")
    return sheet


def _best(item: Optimum) -> str:
    if item.value is None:
        return "not found"
    return f"{item.censored} {short(item.value)}" if item.censored else short(item.value)


def _cliff(item: Optimum) -> str:
    if item.cliff is None:
        return ""
    what = "diverges" if item.cliff.drop is None else f"loses {item.cliff.drop:.3g}"
    return f"{short(item.cliff.edge)} → {short(item.cliff.beyond)} {what}"


def _grid(item: Optimum) -> str:
    if item.extend_to is not None:
        what = "optimum" if item.censored else "best level"
        return f"{what} at the edge: extend it to {short(item.extend_to)}"
    return f"optimum {item.censored} what was tried" if item.censored else ""


def _levels(found: Fit) -> Sheet:
    headers = (found.question.by or "", f">{found.question.axis}", ">runs", ">loss", ">fitted", ">residual")
    sheet = Sheet(headers)
    for item in found.optima:
        for place, level in enumerate(item.levels):
            sheet.add(
                item.group if place == 0 else "",
                short(level.value),
                str(level.num_runs),
                "diverged" if level.loss is None else numbers.bpb(level.loss),
                "" if level.fitted is None else numbers.bpb(level.fitted),
                "" if level.residual is None else numbers.change(level.residual),
                new_group=place == 0,
            )
    return sheet


def _ridges(found: Fit) -> Sheet:
    first, second = found.question.axis, found.question.second_axis
    headers = (
        found.question.by or "",
        f">{first}",
        ">interval",
        f">{second}",
        ">interval",
        ">ridge exponent",
    )
    sheet = Sheet((*headers, ">interval", ">loss", "note"))
    for item in found.ridges:
        values = item.values or (None, None)
        intervals = item.intervals or (None, None)
        said = [
            *item.notes,
            *(["values outside of what was tried: extend the grid"] if item.censored else []),
        ]
        first_shown, second_shown = (
            f"({short(value)})" if item.censored else short(value) for value in values
        )
        sheet.add(
            Mark(item.group, "strong"),
            first_shown,
            between(intervals[0]),
            second_shown,
            between(intervals[1]),
            short(item.slope),
            between(item.slope_interval),
            numbers.bpb(item.loss),
            "; ".join(said),
        )
    sheet.notes.append(f"ridge: the best {first} goes with {second} to this power, all else as it was")
    return sheet


def _law(law: Law) -> Sheet:
    headers = ("", f">{law.scale_name}", ">optimum", ">law", ">off by", ">exponent without it", "grid")
    sheet = Sheet(headers)
    for point in law.points:
        sheet.add(
            point.name,
            short(point.scale),
            short(point.optimum),
            short(law.at(point.scale)),
            _percent(point.residual),
            short(point.exponent_without),
            f"the optimum lies {point.censored}" if point.censored else "",
        )
    confidence = f"{100 * law.interval.confidence:g}%, t with {degrees(law.df)}"
    sheet.notes.append(
        f"optimum = {law.prefactor:.4g} × {law.scale_name}^{law.exponent:.3f}; exponent "
        f"{exponent(law.interval)} ({confidence}), scatter between sizes {100 * law.scatter:.1f}%"
    )
    if law.rule is not None and law.rule_p is not None:
        verdict = "not contradicted" if law.rule_p > 1 - law.interval.confidence else "contradicted"
        sheet.notes.append(f"the rule {law.scale_name}^{law.rule:g} is {verdict}: p = {law.rule_p:.2g}")
    sheet.notes.append(
        f"stated in {law.scale_name} alone: what grew with it (depth, width, tokens, batch) is not told apart"
    )
    sheet.notes += law.notes
    return sheet


def _estimate(value: Estimate) -> tuple[str, str, str]:
    return short(value.value), between(value.interval), short(value.sd)


def _surface(sizes: ComputeOptimal) -> Sheet:
    sheet = Sheet(("", ">value", ">interval", ">SD"))
    for name, value in sizes.constants.items():
        sheet.add(_NAMES.get(name, name), *_estimate(value))
    if sizes.parabola_exponent is not None:
        sheet.add("N ∝ C^ by parabolas", *_estimate(sizes.parabola_exponent))
    for flops, ratio in sizes.ratios.items():
        sheet.add(f"tokens a parameter at {short(flops)} FLOPs", *_estimate(ratio))
    sheet.notes.append(
        f"{counted(sizes.num_runs, 'run')}; bootstrap of {sizes.resampled}; "
        f"objective {sizes.surface.objective:.4e}; "
        f"C = {sizes.flops_per_param_token:.2f}·N·D"
    )
    if sizes.parabola_bias is not None:
        sheet.notes.append(
            "parabolas through noiseless losses of this surface, at these sizes, are off by "
            f"{sizes.parabola_bias:+.4f} in that exponent"
        )
    sheet.notes += sizes.notes
    return sheet


def _budgets(sizes: ComputeOptimal) -> Sheet:
    headers = (">FLOPs", ">sizes", ">best N", ">interval", ">tokens a parameter", ">by the surface")
    sheet = Sheet((*headers, ">parabola's bias", "grid"))
    for item in sizes.budgets:
        best = item.best
        sheet.add(
            short(item.flops),
            str(item.num_sizes),
            _best(best),
            between(best.interval),
            numbers.MISSING if best.censored else short(item.ratio),
            short(item.surface_params),
            _percent(item.bias),
            _grid(best),
        )
    sheet.notes.append(
        "parabola's bias: what it finds in noiseless losses of the surface at the sizes that ran, against "
        "the surface's best size"
    )
    for name, law in (sizes.parabolas or {}).items():
        sheet.notes.append(
            f"{name} ∝ C^{law.exponent:.3f}, {exponent(law.interval)} (t with {degrees(law.df)})"
        )
    return sheet


def _influence(sizes: ComputeOptimal) -> Sheet:
    sheet = Sheet(("left out", ">E", ">α", ">β", ">N ∝ C^"))
    for item in sizes.influence:
        exponents = (f"{value:.4f}" for value in (item.alpha, item.beta, item.params_exponent))
        sheet.add(item.runs, short(item.e), *exponents)
    return sheet


def _batches(found: Fit) -> Sheet:
    headers = (found.question.by or "", ">target loss", ">critical batch", ">interval", ">least tokens")
    sheet = Sheet((*headers, ">batches", "note"))
    for item in found.batches:
        sheet.add(
            item.group,
            numbers.bpb(item.target),
            short(item.batch),
            between(item.interval),
            short(item.least_tokens),
            str(len(item.readings)),
            "; ".join(item.notes),
        )
    sheet.notes.append("at the critical batch a run needs twice the least tokens; all in tokens")
    return sheet


def _forecast(found: Fit) -> Sheet:
    forecast = found.forecast
    assert forecast is not None
    headers = (">parameters", ">tokens", ">expected", ">interval", ">loss", ">off by", "inside", ">no change")
    sheet = Sheet(headers)
    for item in forecast.forecasts:
        sheet.add(
            short(item.params),
            short(item.tokens),
            numbers.bpb(item.expected),
            between(item.interval, numbers.bpb),
            numbers.bpb(item.loss),
            numbers.MISSING if item.error is None else _signed(item.error),
            "" if item.is_inside is None else "yes" if item.is_inside else "no",
            numbers.bpb(item.no_change),
        )
    constants = (
        f"{_NAMES.get(name, name)} {short(value)} ({between(ends)})"
        for name, (value, ends) in forecast.constants.items()
    )
    sizes = f"{counted(len(forecast.fitted_sizes), 'size')} up to {short(forecast.fitted_sizes[-1])}"
    sheet.notes.append(f"from {counted(forecast.num_fitted, 'run')} of {sizes}: {'; '.join(constants)}")
    sheet.notes.append(
        f"noise of a run {100 * forecast.noise_sd:.2f}%, of a size {100 * forecast.size_sd:.2f}%"
    )
    if forecast.backtest_error is not None:
        missed = _signed(forecast.backtest_error)
        sheet.notes.append(f"the same from the sizes below missed the largest fitted size by {missed}")
    if (score := forecast.score) is not None:
        mean, most, unchanged = (
            f"{100 * value:.2f}%"
            for value in (score.mean_abs_error, score.max_abs_error, score.no_change_abs_error)
        )
        sheet.notes.append(
            f"{score.num_points} points of {score.num_sizes} sizes have run: off by {mean} in the mean, "
            f"{most} at most (no change: {unchanged}); {100 * score.coverage:.0f}% inside, all points of "
            f"{score.sizes_covered} sizes; log score {score.log_score:.2f}"
        )
    sheet.notes.append("no change: the loss of the largest fitted size at its nearest tokens a parameter")
    sheet.notes += forecast.notes
    return sheet


def _signed(ratio: float) -> str:
    shown = f"{100 * ratio:+.2f}%"
    return "0.00%" if float(shown[:-1]) == 0.0 else shown.replace("-", "−")
