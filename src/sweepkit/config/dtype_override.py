"""``SWEEPKIT_DTYPE``: one dtype for every run, whatever was asked for; for hunting NaNs in fp32."""

from __future__ import annotations

import os

from sweepkit.config.choices import Dtype
from sweepkit.errors import invalid

ENVIRONMENT_VARIABLE = "SWEEPKIT_DTYPE"
_ALLOWED = (Dtype.bf16, Dtype.fp16, Dtype.fp32)


def dtype_override() -> Dtype | None:
    """What the environment variable says; None where it says nothing.

    Raises:
        ConfigError: it holds something other than bf16, fp16 or fp32.
    """
    value = os.environ.get(ENVIRONMENT_VARIABLE, "")
    if not value:
        return None
    found = next((dtype for dtype in _ALLOWED if dtype.name == value), None)
    if found is None:
        raise invalid(ENVIRONMENT_VARIABLE, value, "be bf16, fp16 or fp32", "set it so or unset it")
    return found
