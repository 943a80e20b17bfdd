"""From a table and the names of its columns to a fit: what is asked decides which estimator answers.

``fit`` takes a frame whose rows are runs, whoever made them, and says which columns are what. A row whose
loss is infinite, or whose state says so, has diverged; rows without a loss (but for forecasts, which are
asked of them) and runs that have not ended are left out.
"""

from __future__ import annotations

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
    size_forecast,
    surface,
)
from sweepkit.analysis.laws.intervals import CONFIDENCE, Floats
from sweepkit.analysis.laws.parabolas import Curvature
from sweepkit.config import typed

SEED = "seed"
#: Fields of a question that hold several.
LISTS = ("params", "targets", "points", "dropped")


@dataclass(frozen=True)
class Question:
    """What a fit is asked, in columns of the table.

    Attributes:
        loss: lower is better.
        axis, second_axis: fields whose best value is sought.
        by: one optimum for each value of it; ``scale`` (by default the same) is what laws are stated in.
        seed: blocks.
        optimum: a column of optima that somebody found, and its scale; no losses are read then.
        params, tokens, flops: of each run, for sizes; several columns of parameters are ways of counting.
        trunk: what several rows were warmed down from, each on its own.
        batch, targets: for critical batches.
        rule: the exponent that a law is held against.
        num_sizes, points: for forecasts: how many of the smallest sizes are fitted; (parameters, tokens) of
            more points.
        dropped: rows of the table to leave out, counted from 0; their influence is shown.
    """

    loss: str = "val_bpb"
    axis: str | None = None
    second_axis: str | None = None
    axis_scale: str = "log"
    by: str | None = None
    scale: str | None = None
    seed: str | None = None
    curvature: Curvature = "auto"
    tolerance: float | None = None
    optimum: str | None = None
    params: tuple[str, ...] = ()
    tokens: str | None = None
    flops: str | None = None
    trunk: str | None = None
    batch: str | None = None
    targets: tuple[float, ...] = ()
    rule: float | None = None
    is_forecast: bool = False
    num_sizes: int = size_forecast.NUM_SIZES
    points: tuple[tuple[float, float | None], ...] = ()
    dropped: tuple[int, ...] = ()
    huber_delta: float = surface.HUBER_DELTA
    replicates: int = compute_optimal.REPLICATES
    confidence: float = CONFIDENCE
    random_seed: int = 0


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
    _check(question)
    whole = frame.reset_index(drop=True)
    if unknown := [row for row in question.dropped if not 0 <= row < len(whole)]:
        raise errors.invalid(
            "--drop", unknown[0], f"be a row from 0 to {len(whole) - 1}", "count rows as the table has them"
        )
    rows, notes = run_columns.ended(whole.drop(index=list(question.dropped)))
    if question.optimum is not None:
        return _law_of_known(rows, question, notes)
    if question.params and question.is_forecast:
        return _forecast(rows, question, notes)
    rows, said = run_columns.measured(rows, question.loss)
    notes = [*notes, *said]
    if question.batch is not None and question.axis is None:
        return _batches(rows, question, notes)
    if question.params:
        return _sizes(rows, whole, question, notes)
    if question.axis is None:
        remedy = "--axis FIELD, --params COLUMN, --batch COLUMN or --optimum COLUMN say what"
        raise errors.invalid("what to fit", None, "be an axis, sizes, batches or known optima", remedy)
    return _optima(rows, question, notes)


def _check(question: Question) -> None:
    """Refuse numbers that no fit can be asked with."""
    above_0 = {
        "--tolerance": question.tolerance,
        "--huber-delta": question.huber_delta,
        "--replicates": question.replicates,
        "--sizes": question.num_sizes,
    }
    for option, value in above_0.items():
        if value is not None and not 0 < value < math.inf:
            raise errors.invalid(option, value, "be above 0", "leave it out for the default")
    if not 0 < question.confidence < 1:
        raise errors.invalid("--confidence", question.confidence, "lie between 0 and 1", "write 0.95")


def _seeds(frame: pd.DataFrame, question: Question) -> list[str] | None:
    """Blocks, where the table has them."""
    if question.seed is not None:
        return run_columns.labels(frame, question.seed, "--seed-column")
    has_seeds = SEED in frame and bool(frame[SEED].notna().all())
    return run_columns.labels(frame, SEED, "--seed-column") if has_seeds else None


def _optima(frame: pd.DataFrame, question: Question, notes: list[str]) -> Fit:
    assert question.axis is not None
    if question.by is not None:  # numbers in their order, whatever the rows' is
        frame = frame.sort_values(run_columns.column(frame, question.by, "--by"), kind="stable")
    frame = frame[np.isfinite(run_columns.numbers(frame, question.axis, "--axis"))]
    x_N, y_N = run_columns.numbers(frame, question.axis, "--axis"), run_columns.losses(frame, question.loss)
    groups = None if question.by is None else run_columns.labels(frame, question.by, "--by")
    seeds = _seeds(frame, question)
    if question.second_axis is not None:
        x1_N = run_columns.positive(frame, question.axis, "--axis")
        x2_N = run_columns.positive(frame, question.second_axis, "--axis2")
        found_ridges = ridge.ridges(x1_N, x2_N, y_N, groups, seeds, question.confidence)
        return Fit(question, len(frame), ridges=found_ridges, notes=notes)
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
    if groups is not None and len(found) >= 2:
        law, said = _law(found, frame, groups, question)
        notes = [*notes, *said]
    return Fit(question, len(frame), found, law=law, notes=notes)


def _law(
    found: Sequence[optima.Optimum], frame: pd.DataFrame, groups: Sequence[str], question: Question
) -> tuple[power_law.Law | None, list[str]]:
    """The law through the optima, where there are enough of them."""
    if question.axis_scale != "log":
        return None, ["no law: the axis is not logarithmic"]
    name = question.scale or question.by or ""
    scale_N = run_columns.positive(frame, name, "--scale")
    mean_of = {
        group: float(np.exp(np.mean(np.log(scale_N[[item == group for item in groups]]))))
        for group in dict.fromkeys(groups)
    }
    known = [item for item in found if item.censored or item.df == 0 or item.interval.is_bounded]
    known = [item for item in known if item.value is not None]
    said = [f"{item.group}: its interval has no end, so it is no part of the law"
            for item in found if item not in known]  # fmt: skip
    if len([item for item in known if not item.censored]) < 3:
        return None, [*said, "no law: it needs three sizes with an optimum inside their grid"]
    law = power_law.power_law(
        np.array([mean_of[item.group] for item in known]),
        np.array([item.value for item in known], dtype=float),
        np.array([item.error if item.error is not None else math.nan for item in known]),
        [item.censored for item in known],
        [item.group for item in known],
        name,
        question.rule,
        question.confidence,
    )
    return law, said


def _law_of_known(frame: pd.DataFrame, question: Question, notes: list[str]) -> Fit:
    assert question.optimum is not None
    name = question.scale or question.by
    if name is None:
        contract = "name the column that a law is stated in"
        raise errors.invalid("--scale", None, contract, "write --scale width")
    value_K = run_columns.positive(frame, question.optimum, "--optimum")
    scale_K = run_columns.positive(frame, name, "--scale")
    labels = run_columns.labels(frame, question.by, "--by") if question.by else None
    rule, confidence = question.rule, question.confidence
    law = power_law.power_law(scale_K, value_K, None, None, labels, name, rule, confidence)
    return Fit(question, len(frame), law=law, notes=notes)


def _tokens(frame: pd.DataFrame, params_N: Floats, question: Question) -> Floats | None:
    """Tokens of every run; where FLOPs alone are named, D = C / 6N."""
    if question.tokens is not None:
        return run_columns.positive(frame, question.tokens, "--tokens")
    if question.flops is None:
        return None
    return run_columns.positive(frame, question.flops, "--flops") / 6 / params_N


def _sizes(frame: pd.DataFrame, whole: pd.DataFrame, question: Question, notes: list[str]) -> Fit:
    loss_N = run_columns.losses(frame, question.loss)
    kept = np.isfinite(loss_N)
    if not kept.all():
        notes = [*notes, f"{int((~kept).sum())} runs that diverged are no part of it"]
    frame, loss_N = frame[kept], loss_N[kept]
    trunks = None if question.trunk is None else run_columns.labels(frame, question.trunk, "--trunk")
    flops_N = None if question.flops is None else run_columns.positive(frame, question.flops, "--flops")
    gone = whole.loc[list(question.dropped)]
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
            left_out = (size_G, tokens_G, run_columns.losses(gone, question.loss))
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


def _forecast(frame: pd.DataFrame, question: Question, notes: list[str]) -> Fit:
    if "state" in frame:  # a table without states may have points that are to be run
        frame = frame[np.isfinite(run_columns.losses(frame, question.loss))]
    params_N = run_columns.positive(frame, question.params[0], "--params")
    found = size_forecast.forecast(
        params_N,
        _tokens(frame, params_N, question),
        run_columns.numbers(frame, question.loss, "--loss"),
        question.num_sizes,
        question.points,
        question.confidence,
        question.random_seed,
    )
    return Fit(question, len(frame), forecast=found, notes=notes)


def _batches(frame: pd.DataFrame, question: Question, notes: list[str]) -> Fit:
    assert question.batch is not None
    if question.tokens is None:
        contract = "name the column of tokens in all"
        raise errors.invalid("--tokens", None, contract, "write --tokens total_tokens")
    found = critical_batch.critical_batches(
        run_columns.positive(frame, question.batch, "--batch"),
        run_columns.positive(frame, question.tokens, "--tokens"),
        run_columns.losses(frame, question.loss),
        None if question.by is None else run_columns.labels(frame, question.by, "--by"),
        question.targets,
        question.confidence,
    )
    law = critical_batch.law_of(found, question.rule, question.confidence)
    return Fit(question, len(frame), batches=found, law=law, notes=notes)


def to_json(found: Fit) -> dict[str, Any]:
    """Plain values; a number that is not known is null."""
    plain: dict[str, Any] = fsio.finite(_plain(typed.dump(found)))
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value.item() if isinstance(value, np.generic) else value
