"""Noise, effects, axes and transfer; ``compare`` judges any table of runs, ``fit`` finds laws in one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from sweepkit.analysis.laws.fitting import Fit
    from sweepkit.promotion.compare import Comparison
    from sweepkit.sweep.decision import DecisionRule


def compare(
    frame: pd.DataFrame,
    reference: str = "reference",
    decision: DecisionRule | None = None,
    allow_mixed_environments: bool = False,
    seeds: str | None = None,
) -> Comparison:
    """Judge every variant of a table of runs against its reference, by the rule that promotion uses.

    The one import to the left in this room: the rule lives in ``promotion`` and there is no second one.

    Args:
        frame: one row a run: variant, seed, val_bpb and, where present, depth, train_time_s (s), total_flops,
            hardware and other columns of the runs table.
        reference: the variant that all others are compared with.
        decision: the rule; by default sweepkit's.
        allow_mixed_environments: compare across hardware, versions and threads.
        seeds: ``shared`` (runs of one seed are paired) or ``independent``; None: as the table says.

    Returns:
        An object with ``outcome`` (promote, reject or inconclusive) and every verdict with its evidence.

    Raises:
        SweepkitError: a column is missing, or the runs cannot be compared.
    """
    from sweepkit.promotion.compare import compare as judged

    return judged(frame, reference, decision, allow_mixed_environments, seeds)


def fit(frame: pd.DataFrame, **asked: Any) -> Fit:
    """Optima, how they move with scale, compute-optimal sizes, critical batches or forecasts of a table.

    Args:
        frame: one row a run, columns as they are.
        **asked: what is asked, in names of columns: the fields of ``laws.question.Question``. ``axis`` (and
            ``by``, ``scale``) for optima, ``params`` with ``tokens`` or ``flops`` for sizes, with
            ``is_forecast`` for forecasts, ``batch`` and ``tokens`` for critical batches, ``optimum`` and
            ``scale`` for a law of known optima. A single value stands for a list of one.

    Returns:
        An object with ``optima``, ``ridges``, ``law``, ``sizes``, ``batches`` and ``forecast``.

    Raises:
        SweepkitError: no such field, a value of another type, a column that is missing or holds no numbers,
            or too few runs for what is asked.
    """
    from sweepkit.analysis.laws import fitting, question

    return fitting.fit(frame, question.of(asked))
