"""How a sweep file of a command is written: ``seeds: shared``, one metric, and text as levels."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from typing import Any

from sweepkit import errors
from sweepkit.config import override
from sweepkit.errors import did_you_mean

SHARED, INDEPENDENT = "shared", "independent"
_SEEDS = [1, 2, 3]


def as_written(value: Mapping[str, Any]) -> dict[str, Any]:
    """A sweep file's content with these two written out; without ``command`` as it is.

    Raises:
        ConfigError: seeds mean neither.
    """
    found = dict(value)
    if not found.get("command"):
        return found
    seeds, metric, decision = found.get("seeds", SHARED), found.get("metric"), found.get("decision", {})
    if isinstance(seeds, str):
        seeds = {seeds: _SEEDS}
    if isinstance(seeds, Mapping):
        meant = list(seeds)
        if len(meant) != 1 or meant[0] not in (SHARED, INDEPENDENT):
            raise errors.invalid(
                "seeds",
                " and ".join(map(str, meant)),
                f"be {SHARED}, {INDEPENDENT} or a list of whole numbers",
                f"{did_you_mean(str(meant[0]), [SHARED, INDEPENDENT])}; or write {{{INDEPENDENT}: [1, 2, 3]}}"
                if meant
                else "write [1, 2, 3]",
            )
        found["seeds"], found["seeds_mean"] = seeds[meant[0]], meant[0]
    axes, params = found.get("axes"), found.get("params")
    if isinstance(axes, Mapping) and isinstance(params, Mapping):
        found["axes"] = {
            axis: [quoted(axis, item) for item in given]
            if isinstance(given, list) and isinstance(params.get(axis), str)
            else given
            for axis, given in axes.items()
        }
    if isinstance(metric, Mapping) and isinstance(decision, Mapping) and "name" in metric:
        found["decision"] = {"metric": metric["name"], **decision}
    return found


def quoted(name: str, value: Any) -> Any:
    """Text of a list of levels as an override has it, where it would read there as something else."""
    if not isinstance(value, str):
        return value
    with contextlib.suppress(errors.SweepkitError):
        if override.parse(f"{name}={value}").value == value:
            return value
    return in_quotes(value)


def in_quotes(text: str) -> str:
    """Text in the quotes of an override, in which a backslash counts before a quote alone."""
    return "'" + re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), text) + "'"
