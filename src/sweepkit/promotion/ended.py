"""Whether a promotion has ended, told from its folder alone and without pandas."""

from __future__ import annotations

import warnings
from pathlib import Path

from sweepkit import fsio
from sweepkit.errors import DamagedError


def has_ended(sweep_dir: Path) -> bool:
    """Whether a promotion ended here, so that cells without a run were not needed.

    Warns of a file that cannot be read: what it would say is not known then, and is worked out again.
    """
    try:
        return fsio.read_json(sweep_dir / "promotion.json")["finished"] is True
    except DamagedError as error:
        warnings.warn(
            f"{error.path} is damaged ({error.why}); sweepkit promote writes it again", stacklevel=2
        )
        return False
    except (FileNotFoundError, KeyError):
        return False
