"""Verdicts as a table: one row a variant and rung."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from sweepkit import fsio, sealed
from sweepkit.config import paths, typed
from sweepkit.errors import DamagedError, SweepkitError
from sweepkit.promotion.verdict_record import Promotion, Verdict
from sweepkit.sweep import published_seal

FILE = "promotion.json"
_DTYPES = {
    "rung": "string", "variant": "string", "outcome": "string", "climbs": "boolean", "metric": "string",
    "n": "Int64", "effect": "Float64", "low": "Float64", "high": "Float64", "confidence": "Float64",
    "shrunk": "Float64", "p": "Float64", "p_corrected": "Float64", "reasons": "string",
}  # fmt: skip


def table(sweep: str, results_dir: Path | str | None = None) -> pd.DataFrame:
    """The verdicts that a sweep's promotion has come to so far, rung by rung.

    Args:
        sweep: its name.
        results_dir: where results are; by default $SWEEPKIT_RESULTS_DIR, else ``./results``.

    Returns:
        ``rung``, ``variant``, ``outcome`` (promote, adopt, reject, inconclusive, unselected), ``climbs``,
        ``metric``, ``n`` seeds, ``effect`` and its interval ``low`` to ``high`` at ``confidence`` (variant
        minus reference, in the metric's unit), ``shrunk``, one-sided ``p`` and ``p_corrected``, ``reasons``.

    Raises:
        SweepkitError: nothing of it was decided yet.
    """
    folder = paths.results_dir() if results_dir is None else Path(results_dir).absolute()
    path = folder / sweep / FILE
    try:
        content = fsio.read_json(path)
        if not (path.parent / published_seal.FILE).exists():  # such a folder may have any name
            sealed.check_is_of(path, content, sweep=sweep)
        promotion = typed.load(Promotion, content)
    except FileNotFoundError:
        raise SweepkitError(
            f"sweep is {sweep!r}, but must have verdicts in {folder}; sweepkit promote {sweep} decides "
            "(a search needs a ladder for that)"
        ) from None
    except DamagedError as error:
        raise SweepkitError(
            f"{path} is damaged ({error.why}), but must be what was decided; sweepkit promote {sweep} makes "
            "it anew"
        ) from None
    return of(verdict for rung in promotion.rungs for verdict in rung.verdicts)


def of(verdicts: Iterable[Verdict]) -> pd.DataFrame:
    """Verdicts as rows; a missing number is missing."""
    rows: list[dict[str, Any]] = []
    for verdict in verdicts:
        effect, evidence = verdict.effect, verdict.evidence
        rows.append(
            {
                "rung": verdict.rung,
                "variant": verdict.variant,
                "outcome": verdict.outcome.value,
                "climbs": verdict.climbs,
                "metric": evidence.metric,
                "n": effect.n,
                "effect": effect.effect,
                "low": effect.low,
                "high": effect.high,
                "confidence": effect.confidence,
                "shrunk": effect.shrunk,
                "p": effect.p,
                "p_corrected": evidence.p_corrected,
                "reasons": "; ".join(verdict.reasons),
            }
        )
    return pd.DataFrame(rows, columns=list(_DTYPES)).astype(_DTYPES)
