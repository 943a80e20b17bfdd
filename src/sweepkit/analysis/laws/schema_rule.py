"""The rule by which sweepkit moves a value with scale today, as the exponent that a law is held against.

The schema scales rates and weight decay by width, batch and tokens (``plan/depth_scaling.py``) and an
automatic batch by tokens (``plan/horizon.py``). A field as it is configured is what these rules start from:
whatever the scale, its exponent is 0. What a value came out as moves with batch and tokens directly; with
depth, width, parameters or FLOPs of models along the dial everything moves together, and the exponent is that
of the plans of these sizes.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sweepkit.analysis.laws.intervals import Floats
from sweepkit.config import compose
from sweepkit.config.schema import RunConfig
from sweepkit.plan import horizon, sizing
from sweepkit.plan.depth_scaling import WIDTH_EXPONENT
from sweepkit.plan.roles import ROLES
from sweepkit.results.columns import LEVEL

#: Depths that stand for the dial where the table's own are not known.
_DIAL = range(8, 25, 4)
_BATCH_EXPONENT = 0.5
#: Of names that have the word of a scale in them and are none: ratios, rates, a device's share of a batch.
_OTHERS = re.compile(r"ratio|frac|_per_|exponent|device_batch|bandwidth")


@dataclass(frozen=True)
class SchemaRule:
    """``exponent`` of the value in the scale, and where it comes from."""

    exponent: float
    source: str


@dataclass(frozen=True)
class _Powers:
    """How a value goes with width at one batch, with the batch, and with tokens at one batch."""

    width: float = 0.0
    batch: float = 0.0
    tokens: float = 0.0


def found(value: str, scale: str, scale_K: Floats, base: Sequence[str] = ()) -> SchemaRule | None:
    """The rule for a column of best values; None where the schema has none, or its name tells nothing.

    Args:
        value, scale: names of columns.
        scale_K: the scale of each size.
        base: overrides of the sweep, whose own exponents count.
    """
    value, scale = value.removeprefix(LEVEL), scale.removeprefix(LEVEL)
    along = _scale_of(scale)
    if along is None:
        return None
    if re.fullmatch(r"optimizer\.\w+\.(lr|weight_decay)", value):
        return SchemaRule(0.0, f"{value} is configured, and scaled by the schema from there")
    powers = _powers_of(value)
    if powers is None or (value == scale):
        return None
    if along == "batch":
        return SchemaRule(powers.batch, "the schema's, with the batch alone")
    config = compose.compose(base) if base else RunConfig()
    grows = config.horizon.batch_exponent
    if along == "tokens" and powers.width == 0:
        exponent = powers.tokens + powers.batch * grows
        return SchemaRule(exponent, f"the schema's, the batch with tokens^{grows:g}")
    moves_K = _along_the_dial(config, along, scale_K)
    log_scale, width, tokens = (moves_K[name] for name in (along, "width", "tokens"))
    log_value = powers.width * width + (powers.tokens + powers.batch * grows) * tokens
    exponent = round(float(np.polyfit(log_scale, log_value, 1)[0]), 3)
    return SchemaRule(exponent, f"the schema's along its dial, the batch with tokens^{grows:g}")


def _scale_of(name: str) -> str | None:
    known = {"depth": "depth", "width": "width", "flops": "flops", "param": "params", "token": "tokens"}
    lower = name.lower()
    if _OTHERS.search(lower):
        return None
    if "batch" in lower:
        return "batch"
    return next((meaning for word, meaning in known.items() if word in lower), None)


def _powers_of(value: str) -> _Powers | None:
    lower = value.lower()
    if _OTHERS.search(lower):
        return None
    if (match := re.fullmatch(r"learning_rates_(\w+)", value)) and match[1] in ROLES:
        role = ROLES[match[1]]
        return _Powers(WIDTH_EXPONENT * role.lr_by_width, _BATCH_EXPONENT * role.lr_by_batch)
    if (match := re.fullmatch(r"weight_decays_(\w+)", value)) and match[1] in ROLES:
        return (
            _Powers(batch=_BATCH_EXPONENT, tokens=-1.0) if ROLES[match[1]].decay_is_scheduled else _Powers()
        )
    if "weight_decay" in lower:
        return _Powers(batch=_BATCH_EXPONENT, tokens=-1.0)
    return _Powers(batch=1.0) if "batch" in lower else None


def _along_the_dial(config: RunConfig, along: str, scale_K: Floats) -> dict[str, Floats]:
    """Logarithms of what models of the dial have, those of the table where its depths or widths say which."""
    depths = list(_DIAL)
    if along in ("depth", "width"):
        each = config.model.aspect_ratio if along == "width" else 1
        own = sorted({max(1, round(float(item) / each)) for item in scale_K})
        depths = own if len(own) > 1 else depths
    models = [dataclasses.replace(config.model, depth=depth) for depth in depths]
    sized = [sizing.size(dataclasses.replace(config, model=model)) for model in models]
    tokens = [horizon.tokens_for_ratio(config, item) for item in sized]
    columns = {
        "depth": depths,
        "width": [item.width for item in sized],
        "params": [item.scaling_params(config.horizon.count) for item in sized],
        "tokens": tokens,
        "flops": [item.flops_per_token * each for item, each in zip(sized, tokens, strict=True)],
    }
    return {name: np.log(np.array(values, dtype=float)) for name, values in columns.items()}
