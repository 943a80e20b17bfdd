"""The metric that a rule decides by: its unit, and which way is better.

What the runs measure themselves is listed here; a column of somebody else's table may have any name, if the
rule says its direction. Judging knows losses only (lower is better): ``DecisionRule.sign`` turns a metric
that is better when higher into one at the door, and back on the way out.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

LOWER, HIGHER = "lower", "higher"


@dataclass(frozen=True)
class Known:
    """A metric of our runs: its unit ("" for none), direction, and whether its values lie above 0."""

    unit: str
    direction: str
    is_positive: bool = True


_BPB = Known("bits/byte", LOWER)
_SCORE = Known("", HIGHER, is_positive=False)
_CORE = Known("centred accuracy", HIGHER, is_positive=False)
#: Before the name of a loss: that of the averaged weights (``optimizer.ema_decay``).
EMA = "ema_"
#: Name, or prefix of a family, → what is known of it.
_NAMES = {
    "val_bpb": _BPB,
    "final_train_loss": Known("nats/token", LOWER),
    "train_time_s": Known("s", LOWER),
    "median_step_time_s": Known("s", LOWER),
    "tokens_per_s": Known("tokens/s", HIGHER),
    "peak_memory_gib": Known("GiB", LOWER),
    "mfu": Known("ratio", HIGHER),
    "core": _CORE,
}
#: From which likeness on a name is a slip of the pen, and no column of somebody else's table.
_NEAR = 0.75
_FAMILIES = {"bpb_": _BPB, "score_": _SCORE, "core_": _CORE}


def known(name: str) -> Known | None:
    """What is known of a metric by its name alone; None for a column that only a table has."""
    if name.startswith(EMA):
        return _BPB if is_stream(name) else None
    family = next((found for prefix, found in _FAMILIES.items() if name.startswith(prefix)), None)
    return _NAMES.get(name) or family


def is_stream(name: str) -> bool:
    """Whether it is the loss on an evaluation stream, in bits per byte."""
    raw = name.removeprefix(EMA)
    return not raw.startswith(EMA) and known(raw) is _BPB


def meant(name: str) -> str | None:
    """The known metric that a name is nearly; None where it is near none, or one itself."""
    exact = [*_NAMES, f"{EMA}val_bpb", "bpb_validation", "bpb_probe"]
    close = difflib.get_close_matches(name.lower(), exact, n=1, cutoff=_NEAR)
    return close[0] if close and known(name) is None else None


def names() -> list[str]:
    """What a sweep may be decided by, families as ``bpb_<stream>``."""
    return [*_NAMES, "bpb_<stream>", f"{EMA}val_bpb", f"{EMA}bpb_<stream>", "core_<task>", "score_<name>"]
