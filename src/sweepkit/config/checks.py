"""What a configuration must hold beyond names and types: every field's range, then rules across fields.

Rules that need the horizon worked out (an automatic batch, a run without steps) are the plan's.
"""

from __future__ import annotations

from sweepkit.config import cross_checks
from sweepkit.config.facts import check_ranges
from sweepkit.config.schema import RunConfig


def check(config: RunConfig) -> None:
    """Check every range, then the rules across fields.

    Raises:
        ConfigError: the first that is broken.
    """
    check_ranges(config)
    cross_checks.check(config)
