"""Verdicts after the fact: what one is still worth where its runs, or verdicts on them, were known before.

α is kept only where nobody could choose by the losses that a verdict rests on. Where runs of a rung were
seen before the sweep was frozen (``sweep/seen.py``), or another sweep has judged a variant's runs first, the
verdict is said to be after the fact: it neither promotes nor adopts. Below the last rung such a variant still
climbs when its estimate is large enough, for there it is judged on fresh seeds; a rejection stands, for α is
not about those. A calibration counts where it was measured before the first run of the rung had ended:
measured later, it could have been asked for because of what came out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from sweepkit.analysis.calibration import Calibration
from sweepkit.promotion.verdict_record import Outcome, Verdict
from sweepkit.sweep import seen
from sweepkit.sweep.frozen import Frozen
from sweepkit.sweep.seen import Judgement, Seen, judged_by, judgements

AFTER_THE_FACT = "after the fact"
_FAVOURABLE = frozenset({Outcome.adopt, Outcome.promote})


@dataclass(frozen=True)
class Hindsight:
    """What was known when a rung of a sweep is judged.

    Attributes:
        seen: of the sweep, when it was frozen.
        earlier: what other sweeps had judged before this rung was judged first.
    """

    seen: Seen
    earlier: tuple[Judgement, ...] = ()

    @classmethod
    def of(cls, frozen: Frozen, rung: str) -> Hindsight:
        mine = seen.first_judged(frozen.sweep_dir).get(rung)
        others = judgements(frozen.sweep_dir.parent, but_for=frozen.name)
        is_earlier = (item for item in others if mine is None or (item.judged_at or "") < mine)
        return cls(frozen.seen, tuple(is_earlier))

    def marked(self, verdicts: Sequence[Verdict], run_ids: Sequence[str]) -> list[Verdict]:
        """The verdicts of one rung, those after the fact taken back.

        Args:
            run_ids: all runs that the rung is judged by.
        """
        known = [run_id for run_id in run_ids if run_id in self.seen.runs]
        if known:
            why = f"{len(known)} of the {len(run_ids)} runs of this rung had been seen when it was frozen"
            by = f" ({judged_by(self.seen.judged)})" if self.seen.judged else ""
            return [taken_back(verdict, f"{why}{by}", self.seen.judged) for verdict in verdicts]
        return [self._marked(verdict) for verdict in verdicts]

    def _marked(self, verdict: Verdict) -> Verdict:
        same = [item for item in self.earlier if item.run_ids & verdict.evidence.own_runs]
        if same:
            return taken_back(verdict, f"its runs had been {judged_by(same)} before", same)
        base = set(verdict.evidence.reference_run_ids)
        shared = [item for item in self.earlier if item.run_ids & base]
        if not shared:
            return verdict
        note = f"the reference's runs had been {judged_by(shared)} before, with other variants"
        return replace(verdict, notes=[*verdict.notes, note])


def taken_back(verdict: Verdict, why: str, judged: Sequence[Judgement] = ()) -> Verdict:
    """The verdict after the fact: with ``why`` in front, and neither adopting nor promoting."""
    evidence = replace(verdict.evidence, after_the_fact=list(judged))
    outcome, said = verdict.outcome, f"{AFTER_THE_FACT}: {why}"
    if outcome in _FAVOURABLE:
        outcome, said = Outcome.inconclusive, f"{said}, so that this shows nothing; fresh seeds would"
    return replace(verdict, outcome=outcome, reasons=[said, *verdict.reasons], evidence=evidence)


def in_time(known: Sequence[Calibration], rows: pd.DataFrame) -> list[Calibration]:
    """The calibrations that were measured before the first of these runs ended; all where that is unknown."""
    first = _first_end(rows)
    return [item for item in known if first is None or pd.Timestamp(item.measured_at) <= first]


def too_late(late: Sequence[Calibration]) -> list[str]:
    """A sentence for every calibration that would have served, and was measured too late."""
    return [
        f"{AFTER_THE_FACT}: the calibration of {item.measured_at[:16]} (SD {item.sd:.5f}) is left out, for "
        "runs of this rung had ended by then; it serves fresh seeds (sweepkit promote NAME --amend-to SEEDS)"
        for item in late
    ]


def _first_end(rows: pd.DataFrame) -> pd.Timestamp | None:
    if "ended_at" not in rows:
        return None
    ended = pd.to_datetime(rows.loc[rows["variant"].notna(), "ended_at"], utc=True, errors="coerce").min()
    return None if pd.isna(ended) else ended
