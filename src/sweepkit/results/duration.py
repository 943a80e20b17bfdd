"""How long something took or takes, written for people."""

from __future__ import annotations


def duration(seconds: float, decimals: int = 0) -> str:
    """``7 s``, ``3 min 20 s``, ``2 h 05 min``, ``4 d 3 h``; ``decimals`` are of seconds below 100."""
    if round(seconds, decimals) < 100:
        return f"{seconds:.{decimals}f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    days, hours = divmod(round(seconds / 3600), 24)
    return f"{days} d {hours} h"
