"""A time limit as Slurm writes it, in minutes.

``90`` is minutes, ``4:00:00`` hours, minutes and seconds, ``1-12`` a day and twelve hours (sbatch --time).
"""

from __future__ import annotations

import re
from typing import Any

from sweepkit import errors

_FORMS = (
    r"(?P<minutes>\d+)",
    r"(?P<minutes>\d+):(?P<seconds>\d+)",
    r"(?P<hours>\d+):(?P<minutes>\d+):(?P<seconds>\d+)",
    r"(?P<days>\d+)-(?P<hours>\d+)(:(?P<minutes>\d+)(:(?P<seconds>\d+))?)?",
)
_SECONDS = {"days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}


def minutes(text: Any) -> Any:
    """Whole minutes, seconds rounded up, as Slurm does; ``auto`` and what is no text as it is.

    Raises:
        ConfigError: it has none of Slurm's forms.
    """
    if not isinstance(text, str) or text == "auto":
        return text
    for form in _FORMS:
        if match := re.fullmatch(form, text.strip(), re.ASCII):
            parts = {name: int(number or 0) for name, number in match.groupdict().items()}
            return -(-sum(_SECONDS[name] * number for name, number in parts.items()) // 60)
    raise errors.invalid(
        "launcher.slurm.time_min",
        text,
        "be auto, minutes, or a time as Slurm writes it (minutes:seconds, hours:minutes:seconds, days-hours)",
        "write for example 240 or 4:00:00",
    )
