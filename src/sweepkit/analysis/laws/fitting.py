"""From a table and the names of its columns to a fit: what is asked decides which estimator answers.

``fit`` takes a frame whose rows are runs, whoever made them, and says which columns are what. A row whose
loss is infinite, or whose state says so, has diverged; rows without a loss (but for forecasts, which are
asked of them) and runs that have not ended are left out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from sweepkit import errors, fsio
from sweepkit.analysis.laws import (
    compute_optimal,
    critical_batch,
    optima,
    power_law,
    ridge,
    run_columns,
    schema_rule,
    size_forecast,
)
from sweepkit.analysis.laws.intervals import Floats
from sweepkit.analysis.laws.question import Question
from sweepkit.config import typed
from sweepkit.printable import counted
from sweepkit.results.columns import LEVEL

SEED = "seed"


@dataclass(frozen=True)
class Fit:
    """What a table says, by whichever estimator was asked for; the others are empty.

    Attributes:
        law: how the optimum, or the critical batch, moves with the scale.
        sizes: both approaches for every way of counting parameters.
        law_loss: residual of the law as loss, where the parabolas tell it.
    """

    question: Question
    num_runs: int
    optima: list[optima.Optimum] = field(default_factory=list)
    ridges: list[ridge.Ridge] = field(default_factory=list)
    law: power_law.Law | None = None
    sizes: list[compute_optimal.ComputeOptimal] = field(default_factory=list)
    batches: list[critical_batch.CriticalBatch] = field(default_factory=list)
    forecast: size_forecast.SizeForecast | None = None
    notes: list[str] = field(default_factory=list)


def fit(frame: pd.DataFrame, question: Question) -> Fit:
    """Answer the question.

    Raises:
        ConfigError: a column is missing or holds no numbers, or there are too few runs for what is asked.
    """
    kind = question.checked()
    if not isinstance(frame, pd.DataFrame):
        remedy = "write pandas.DataFrame(rows), or read_csv"
        raise errors.invalid("frame", type(frame).__name__, "be a pandas DataFrame, a row a run", remedy)
    whole = frame.rename(columns=str).reset_index(drop=True)
    if unknown := [row for row in question.dropped if not 0 <= row < len(whole)]:
        raise errors.invalid(
            "--drop", unknown[0], f"be a row from 0 to {len(whole) - 1}", "count rows as the table has them"
        )
    rows, notes = run_columns.ended(whole.drop(index=list(question.dropped)))
    if rows.empty:
        remedy = "widen --where or --drop, or wait until runs have ended"
        raise errors.invalid("rows", "; ".join(["none", *notes]), "be there for a fit", remedy)
    for name, option in question.places.items():
        rows, said = run_columns.placed(rows, name, option)
        notes += said
    read = [*question.places, question.seed or SEED]
    rows, said = run_columns.distinct(rows, read, question.optimum or question.loss)
    notes += said
    if kind == "known optima":
        return _law_of_known(rows, question, notes)
    if kind == "forecast":
        return _forecast(rows, question, notes)
    rows, said = run_columns.measured(rows, question.loss)
    notes = [*notes, *said]
    if kind == "sizes":
        return _sizes(rows, whole, question, notes)
    return (_batches if kind == "batches" else _optima)(rows, question, notes)


def _blocks(
    frame: pd.DataFrame, question: Question, *named: str | None
) -> tuple[list[str] | None, list[str]]:
    """What runs share beside their places: a seed, where the table has them, and levels of axes that the
    question does not name; and sentences about those, and about rows without a seed."""
    seeds: list[str] | None = None
    said: list[str] = []
    if question.seed is not None:
        seeds = run_columns.labels(frame, question.seed, "--seed-column")
    elif SEED in frame and (empty := int(frame[SEED].isna().sum())) < len(frame):
        said += [f"seeds are no blocks: {counted(empty, 'row')} without one"] if empty else []
        seeds = None if empty else run_columns.labels(frame, SEED, "--seed-column")
    if not (others := run_columns.unnamed(frame, *named)):
        return seeds, [*said, *run_columns.uncounted(frame, question.loss, *named, question.seed)]
    remedy = "--by or --axis2 tells its levels apart, --where keeps one"
    names = ", ".join(name.removeprefix(LEVEL) for name in others)
    said.append(f"{names}: averaged over, its levels as blocks, for the question does not name it; {remedy}")
    levels = frame[others].astype(str).agg(" ".join, axis=1)
    seeds = [""] * len(frame) if seeds is None else seeds
    return [f"{seed} {level}" for seed, level in zip(seeds, levels, strict=True)], said


def _optima(frame: pd.DataFrame, question: Question, notes: list[str]) -> Fit:
    assert question.axis is not None
    by = question.by or question.scale
    if by is not None:  # numbers in their order, whatever the rows' is
        frame = run_columns.in_order(frame, by, "--by")
    y_N = run_columns.losses(frame, question.loss, question.is_higher_better)
    if question.second_axis is not None:
        notes += run_columns.diverged(y_N)
        frame, y_N = frame[np.isfinite(y_N)], y_N[np.isfinite(y_N)]
    groups = None if by is None else run_columns.labels(frame, by, "--by")
    seeds, said = _blocks(frame, question, question.axis, question.second_axis, by)
    notes += said
    if question.second_axis is not None:
        x1_N = run_columns.positive(frame, question.axis, "--axis")
        x2_N = run_columns.positive(frame, question.second_axis, "--axis2")
        found_ridges, said = ridge.ridges(x1_N, x2_N, y_N, groups, seeds, question.confidence)
        notes += said
        if question.is_higher_better:
            found_ridges = [ridge.in_unit(item, -1.0) for item in found_ridges]
        said = _ridge_rule(question, found_ridges, x2_N)
        return Fit(question, len(frame), ridges=found_ridges, notes=[*notes, *said])
    x_N = run_columns.numbers(frame, question.axis, "--axis")
    notes += run_columns.diverged(y_N, "their levels are not fitted")
    kept_N, said = optima.fittable(x_N, y_N, groups)
    notes += said
    frame, x_N, y_N = frame[kept_N], x_N[kept_N], y_N[kept_N]
    groups, seeds = (
        None if item is None else list(itertools.compress(item, kept_N)) for item in (groups, seeds)
    )
    found = optima.optima(
        x_N,
        y_N,
        groups,
        seeds,
        question.axis_scale,
        question.curvature,
        question.tolerance,
        question.confidence,
    )
    law = None
    if groups is not None:
        law, said = _law(found, frame, groups, question)
        notes = [*notes, *said]
    if question.is_higher_better:
        found = [optima.in_unit(item, -1.0) for item in found]
    return Fit(question, len(frame), found, law=law, notes=notes)


def _ridge_rule(question: Question, found: Sequence[ridge.Ridge], scale_N: Floats) -> list[str]:
    """The schema's exponent of the first axis in the second, beside the ridges'."""
    first, second = question.axis or "", question.second_axis or ""
    rule, words = _rule(question, first, second, scale_N)
    if rule is None:
        return []
    against = [item.group for item in found if not item.slope_interval.holds(rule)]
    return [*words, f"contradicted by the ridge of {', '.join(against)}" if against else "not contradicted"]


def _law(
    found: Sequence[optima.Optimum], frame: pd.DataFrame, groups: Sequence[str], question: Question
) -> tuple[power_law.Law | None, list[str]]:
    """The law through the optima, where there are enough of them."""
    if question.axis_scale != "log":
        return None, ["no law: the axis is not logarithmic"]
    name = question.scale or question.by or ""
    if question.scale is None and not run_columns.is_scale(frame, name):
        return None, [f"no law: {name} is not a number above 0; --scale names one to state it in"]
    mean_of, said = run_columns.mean_scales(frame, name, groups)
    known = [item for item in found if item.is_known]
    said += [
        f"{item.group}: {'not found' if item.value is None else 'its interval has no end'}, so it is no part "
        "of the law"
        for item in found
        if item not in known
    ]
    if len([item for item in known if not item.censored]) < 3:
        return None, [*said, "no law: it needs three sizes whose optimum has an interval with two ends"]
    scale_K = np.array([mean_of[item.group] for item in known])
    rule, words = _rule(question, question.axis or "", name, scale_K)
    law = power_law.power_law(
        scale_K,
        np.array([item.value for item in known], dtype=float),
        np.array([item.error if item.error is not None else math.nan for item in known]),
        [item.censored for item in known],
        [item.group for item in known],
        name,
        rule,
        question.confidence,
    )
    return law, [*said, *words]


def _rule(question: Question, value: str, scale: str, scale_K: Floats) -> tuple[float | None, list[str]]:
    """The exponent that a law is held against, and whose it is."""
    if question.rule is not None:
        return question.rule, []
    rule = schema_rule.found(value, scale, scale_K, question.base)
    return (None, []) if rule is None else (rule.exponent, [f"rule {scale}^{rule.exponent:g}: {rule.source}"])


def _law_of_known(frame: pd.DataFrame, question: Question, notes: list[str]) -> Fit:
    assert question.optimum is not None
    name = question.scale or question.by
    if name is None:
        raise errors.invalid("--scale", None, "name the column of a law's scale", "write --scale width")
    value_K = run_columns.positive(frame, question.optimum, "--optimum")
    scale_K = run_columns.positive(frame, name, "--scale")
    labels = run_columns.labels(frame, question.by, "--by") if question.by else None
    if labels and pd.Series(scale_K).groupby(labels).nunique().max() > 1:
        contract = f"name optima one by one, for all are points of one law in {name}"
        raise errors.invalid("--by", question.by, contract, "keep one law with --where, or leave --by out")
    rule, words = _rule(question, question.optimum, name, scale_K)
    law = power_law.power_law(scale_K, value_K, None, None, labels, name, rule, question.confidence)
    return Fit(question, len(frame), law=law, notes=[*notes, *words])


def _tokens(frame: pd.DataFrame, params_N: Floats, question: Question) -> Floats | None:
    """Tokens of every run; where FLOPs alone are named, D = C / 6N."""
    if question.tokens is not None:
        return run_columns.positive(frame, question.tokens, "--tokens")
    if question.flops is None:
        return None
    return run_columns.positive(frame, question.flops, "--flops") / 6 / params_N


def _sizes(frame: pd.DataFrame, whole: pd.DataFrame, question: Question, notes: list[str]) -> Fit:
    frame, loss_N, said = run_columns.converged(frame, question.loss)
    notes = [*notes, *said]
    trunks = None if question.trunk is None else run_columns.labels(frame, question.trunk, "--trunk")
    flops_N = None if question.flops is None else run_columns.positive(frame, question.flops, "--flops")
    gone, said = _returnable(whole.loc[list(question.dropped)], question)
    notes = [*notes, *said]
    found = []
    for params in question.params:
        params_N = run_columns.positive(frame, params, "--params")
        tokens_N = _tokens(frame, params_N, question)
        if tokens_N is None:
            raise errors.invalid("--tokens", None, "name a column, or --flops one", "write --tokens tokens")
        left_out = None
        if len(gone):
            size_G = run_columns.positive(gone, params, "--params")
            tokens_G = _tokens(gone, size_G, question)
            assert tokens_G is not None
            left_out = (size_G, tokens_G, run_columns.numbers(gone, question.loss, "--loss"))
        made = compute_optimal.compute_optimal(
            params_N,
            tokens_N,
            flops_N,
            loss_N,
            trunks,
            params,
            left_out,
            question.huber_delta,
            question.replicates,
            question.confidence,
            question.random_seed,
        )
        found.append(made)
    return Fit(question, len(frame), sizes=found, notes=notes)


def _returnable(gone: pd.DataFrame, question: Question) -> tuple[pd.DataFrame, list[str]]:
    """Dropped rows that a fit could take back; and a sentence about the others."""
    names = [*question.params, *filter(None, (question.tokens, question.flops)), question.loss]
    values = np.array([run_columns.numbers(gone, name, "--drop") for name in names])
    kept = ((values > 0) & np.isfinite(values)).all(axis=0)
    said = f"{counted(int((~kept).sum()), 'dropped row')} cannot come back: a number there is no use"
    return gone[kept], [] if kept.all() else [said]


def _forecast(frame: pd.DataFrame, question: Question, notes: list[str]) -> Fit:
    if "state" in frame:  # a table without states may have points that are to be run
        frame, said = run_columns.measured(frame, question.loss)
        notes = [*notes, *said]
    frame, loss_N, said = run_columns.converged(frame, question.loss)
    params_N = run_columns.positive(frame, question.params[0], "--params")
    found = size_forecast.forecast(
        params_N,
        _tokens(frame, params_N, question),
        loss_N,
        question.num_sizes,
        question.points,
        question.confidence,
        question.random_seed,
    )
    return Fit(question, len(frame), forecast=found, notes=[*notes, *said])


def _batches(frame: pd.DataFrame, question: Question, notes: list[str]) -> Fit:
    assert question.batch is not None
    if question.tokens is None:
        contract = "name the column of tokens in all"
        raise errors.invalid("--tokens", None, contract, "write --tokens total_tokens")
    frame, loss_N, said = run_columns.converged(frame, question.loss)
    notes = [*notes, *said]
    groups = ["all"] * len(frame)
    if question.by is not None:
        groups = run_columns.labels(frame, question.by, "--by")
    found = critical_batch.critical_batches(
        run_columns.positive(frame, question.batch, "--batch"),
        run_columns.positive(frame, question.tokens, "--tokens"),
        loss_N,
        groups,
        question.targets,
        question.confidence,
    )
    told = {(item.group, item.target) for item in found} | {(item.group, None) for item in found}
    for pair in itertools.product(dict.fromkeys(groups), question.targets or (None,)):
        if pair not in told:
            target = "a common loss" if pair[1] is None else f"{pair[1]:g}"
            notes = [*notes, f"{pair[0]}: no critical batch, for fewer than three batches reach {target}"]
    least_K = np.array([item.least_tokens for item in found])
    rule, words = _rule(question, "total_batch_size", "tokens", least_K)
    law = critical_batch.law_of(found, rule, question.confidence)
    if law is None:
        words = ["no law: it needs three targets whose critical batch has a bounded interval"]
        words += [] if question.rule is None else [f"rule {question.rule:g} is not tested, for want of a law"]
    return Fit(question, len(frame), batches=found, law=law, notes=[*notes, *words])


def to_json(found: Fit) -> dict[str, Any]:
    """Plain values; a number that is not known is null."""
    plain: dict[str, Any] = fsio.finite(_plain(typed.dump(found)))
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
