"""What the last rung of a ladder is decided by: text that no earlier decision used.

A variant that fits the validation text better than language at large looks good on every rung that is
evaluated on it. So the runs of the last rung are evaluated on a holdout as well (``config/holdout.py``), and
its verdicts rest on that; rungs below, searches and pruning never see it. The usual text is measured there
too, so that effects can be followed from rung to rung. ``decision.last_metric`` names another column.

Which stream is asked for follows from rule and configuration alone, and stands in the frozen plans.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from sweepkit import errors
from sweepkit.config import cross_checks, holdout
from sweepkit.config.cross_checks import VALIDATION
from sweepkit.config.schema import RunConfig, RungConfig
from sweepkit.sweep import metric as metrics
from sweepkit.sweep.decision import DecisionRule

USUAL = "val_bpb"


def stream_of(metric: str) -> str:
    """The evaluation stream that a metric is measured on."""
    raw = metric.removeprefix(metrics.EMA)
    return VALIDATION if raw == USUAL else raw.removeprefix("bpb_")


def holdout_column(usual_metric: str) -> str:
    """The column of the text held back behind a metric's."""
    ema = metrics.EMA if usual_metric.startswith(metrics.EMA) else ""
    return f"{ema}bpb_{holdout.of(stream_of(usual_metric))}"


def holdout_of(rule: DecisionRule, rungs: Sequence[RungConfig]) -> str | None:
    """The holdout that the rule asks for on the last rung, if any; only a loss on text has one."""
    if not metrics.is_stream(rule.last_metric or rule.metric):
        return None
    if rule.last_metric:
        stream = stream_of(rule.last_metric)
        return stream if holdout.base(stream) else None
    return holdout.of(stream_of(rule.metric)) if len(rungs) > 1 else None


def evaluated(config: RunConfig, rule: DecisionRule, rungs: Sequence[RungConfig]) -> RunConfig:
    """A configuration of the last rung, evaluated on the holdout as well.

    Left as it is where the rule names none, and where it is known that no text is left and the rule does not
    insist.

    Raises:
        ConfigError: the rule names a holdout that this configuration cannot have.
    """
    stream = holdout_of(rule, rungs)
    streams = config.evaluation.streams
    if stream is None or stream in streams:
        return config
    usual = str(holdout.base(stream))
    if rule.last_metric is None and (usual not in streams or holdout.is_known_to_be_empty(config, usual)):
        return config
    evaluation = dataclasses.replace(config.evaluation, streams=[*streams, stream])
    config = dataclasses.replace(config, evaluation=evaluation)
    cross_checks.check(config)
    return config


def metric(rule: DecisionRule, rungs: Sequence[RungConfig], config: RunConfig | None) -> str:
    """The column that the last rung is decided by.

    Args:
        config: of a plan of the last rung; None where there is none.
    """
    if rule.last_metric:
        return rule.last_metric
    stream = holdout_of(rule, rungs)
    is_asked = stream and config is not None and stream in config.evaluation.streams
    return holdout_column(rule.metric) if is_asked else rule.metric


def said(rule: DecisionRule, rungs: Sequence[RungConfig], config: RunConfig | None) -> str | None:
    """What the last rung is decided by, in a sentence; None where there is no rung below it.

    Args:
        config: of the reference's plan on the last rung; None where there is none.
    """
    if len(rungs) < 2:
        return None
    found, last = metric(rule, rungs, config), rungs[-1].name
    if holdout.base(stream_of(found)):
        return f"rung {last} is decided by {found}, text that no rung below is evaluated on"
    if not metrics.is_stream(found):
        return f"rung {last} is decided by {found}"
    start = f"rung {last} is decided by {found}, the text of the rungs below"
    if rule.last_metric or config is None:
        return start
    usual = stream_of(rule.metric)
    limit = holdout.room(config, usual)
    return (
        f"{start}: evaluation.max_bytes ({config.evaluation.max_bytes:,}) leaves too little of the "
        f"{usual} text; {limit:,} or less would hold some back"
    )


def check(rule: DecisionRule, rungs: Sequence[RungConfig], configs: Mapping[str, RunConfig]) -> None:
    """Every run of the last rung measures what it is decided by.

    Args:
        configs: variant → a plan's configuration on the last rung, the reference's first.

    Raises:
        ConfigError: a variant does not.
    """
    wanted = metric(rule, rungs, next(iter(configs.values())))
    if wanted == USUAL or not metrics.is_stream(wanted):
        return
    for variant, config in configs.items():
        if stream_of(wanted) not in config.evaluation.streams:
            raise errors.invalid(
                "decision.last_metric",
                wanted,
                f"be measured by every run of rung {rungs[-1].name} ({variant} evaluates on "
                f"{', '.join(config.evaluation.streams)})",
                "write last_metric: val_bpb, or give all variants one evaluation.max_bytes",
            )
