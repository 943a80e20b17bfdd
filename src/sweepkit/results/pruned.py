"""Who has stopped a run as hopeless: ``pruned.json`` in its folder.

A search prunes its trials, and a sweep may stop variants for futility. Such a run has no result. For the one
that stopped it, and for that one alone, it has ended all the same; whoever else asks for it runs it to its
end. So the run's record cannot say it: everyone who stopped it has an entry of its own here, which names its
rule and what it went by, and stays when others go on with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sweepkit import fsio
from sweepkit.config import typed
from sweepkit.results.columns import Row
from sweepkit.results.record import STOPPED, RunDir, RunRecord, RunState
from sweepkit.sweep.frozen import Frozen

FILE = "pruned.json"
#: What a run may have come to since it was stopped; then that counts.
_ANSWERS = frozenset({RunState.complete, RunState.trained, RunState.diverged})


@dataclass(frozen=True)
class Pruner:
    """A sweep that stops the hopeless: a search that prunes, or a rule of futility.

    Attributes:
        identity: of the frozen sweep; another one of the same name is another one.
        rule: as it is written in a sweep file.
        state: what it calls a run that it has stopped.
    """

    name: str
    identity: str
    rule: dict[str, Any]
    state: RunState = RunState.pruned

    @classmethod
    def of(cls, sweep: Frozen) -> Pruner | None:
        """None for a sweep that neither searches nor stops for futility."""
        if sweep.search:
            return cls(sweep.name, sweep.identity, typed.dump(sweep.search.pruning))
        rule = sweep.decision.futility
        return cls(sweep.name, sweep.identity, typed.dump(rule), RunState.futile) if rule else None

    def has_pruned(self, run_dir: RunDir, record: RunRecord | None) -> bool:
        """Whether the run has ended for this sweep, by being stopped by it."""
        return (record is None or record.state not in _ANSWERS) and self.entry(run_dir) is not None

    def entry(self, run_dir: RunDir) -> dict[str, Any] | None:
        """``step``, ``reason``, ``rule``, ``evidence``; None where it did not stop this run."""
        return _entry(read(run_dir.path / FILE), self.name, self.identity)

    def note(self, run_dir: RunDir, step: int, reason: str, evidence: Mapping[str, Any]) -> None:
        """Write down that it has, and what it went by; the caller holds the run's claim."""
        mine = {"identity": self.identity, "rule": self.rule, "step": step, "reason": reason}
        mine |= {"run_id": run_dir.run_id, "state": self.state.value, "evidence": dict(evidence)}
        fsio.write_json(run_dir.path / FILE, read(run_dir.path / FILE) | {self.name: mine})


def read(path: Path) -> dict[str, Any]:
    """Sweep → its entry; none where the file is missing, damaged or another run's: it is run to its end."""
    try:
        content = fsio.read_json(path)
    except (OSError, ValueError):
        return {}
    return {
        name: item
        for name, item in content.items()
        if isinstance(item, dict) and item.get("run_id") == path.parent.name
    }


def as_seen(record: Row, entries: dict[str, Any], sweep: str, identity: str) -> Row:
    """A record's row as one sweep sees it: ended where it has stopped that run, else left half way."""
    state, entry = record.get("state"), _entry(entries, sweep, identity)
    if entry is not None and state not in _ANSWERS:
        state = entry.get("state", RunState.pruned.value)
        return record | {"state": state, "failure_message": entry.get("reason")}
    return record | ({"state": RunState.preempted.value} if state in STOPPED else {})


def _entry(entries: dict[str, Any], name: str, identity: str) -> dict[str, Any] | None:
    found = entries.get(name)
    return found if found and found.get("identity") == identity else None
