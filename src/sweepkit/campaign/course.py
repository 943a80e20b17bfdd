"""Where a campaign stands: what its rounds have adopted, what the next one starts from and what it tries.

Everything here is a function of the campaign's files, the command line and the rounds whose verdicts stand;
nothing is remembered beside them. So a round comes out the same whoever works it out, and one that was frozen
from other verdicts is refused when it is frozen again.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sweepkit import fsio
from sweepkit.campaign.campaign_file import Campaign
from sweepkit.config import typed
from sweepkit.promotion.verdict_record import Final, Promotion, Verdict
from sweepkit.sweep import expand, frozen, frozen_folder, frozen_head, published_seal, relative, set_fields
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.file import SweepFile


@dataclass(frozen=True)
class Change:
    """What a round adopted.

    Attributes:
        overrides: what it sets.
        gain: its shrunken improvement on the round's last rung, in the metric's unit.
        effects: rung → its measured effect against the round's reference, on the metric of all rungs.
    """

    round: str
    variant: str
    overrides: tuple[str, ...]
    gain: float
    effects: dict[str, float | None]


@dataclass(frozen=True)
class Standing:
    """A sweep of the campaign whose verdicts stand."""

    sweep: SweepFile
    promotion: Promotion
    last_seed: int
    folder: Path
    overrides: tuple[str, ...]


def standing(results_dir: Path, name: str) -> Standing | None:
    """What a sweep has decided; None while it has not.

    Raises:
        FrozenPlanError: a frozen file was edited or is missing.
        DamagedError: so is one of a published folder.
    """
    folder = results_dir / name
    published_seal.check(folder)
    if not frozen_folder.exists(folder) or not (folder / "promotion.json").is_file():
        return None
    whole, head = frozen.load_frozen(results_dir, name), frozen_head.read(folder)
    promotion = typed.load(Promotion, fsio.read_json(folder / "promotion.json"))
    if not promotion.finished or promotion.frozen_sha256 != whole.sha256:
        return None
    last_seed = max(cell.plan.seed for cell in whole.fixed)
    return Standing(head.sweep, promotion, last_seed, folder, head.overrides)


@dataclass(frozen=True)
class Course:
    """A campaign under way.

    Attributes:
        extra: overrides of the command line, without those of the rule.
        standings: round → what it decided; a round that had nothing to try has none.
    """

    campaign: Campaign
    extra: tuple[str, ...] = ()
    standings: dict[str, Standing] = field(default_factory=dict)

    def sweep_name(self, name: str) -> str:
        """Of the sweep that a round is run as."""
        return f"{self.campaign.name}-{name}"

    def adopted(self, name: str) -> Change | None:
        """What a round adopted: of several the one with the largest shrunken gain on the last rung.

        A combination stands for its parts only where it was a variant itself, and then counts like any other.
        """
        found = self.standings.get(name)
        if found is None:
            return None
        last = {item.variant: item for result in found.promotion.rungs for item in result.verdicts}
        names = found.promotion.of(Final.adopted)
        if not names:
            return None
        sign = found.promotion.decision.sign
        best = max(names, key=lambda item: (_gain(last[item], sign), item))
        variant = next(item for item in expand.variants(found.sweep) if item.label == best)
        effects = {row.rung: row.effect for row in found.promotion.transfer if row.variant == best}
        return Change(name, best, variant.overrides, _gain(last[best], sign), effects)

    def reference(self, after: Sequence[str]) -> tuple[Change, ...]:
        """The changes that make what comes after these rounds, in the order in which they were adopted.

        Rounds side by side were not tested together, so of their references the one of the largest gain.
        """
        paths = [self._reference_after(name) for name in after]
        if not paths:
            return ()
        return max(paths, key=lambda path: (sum(change.gain for change in path), len(path)))

    def _reference_after(self, name: str) -> tuple[Change, ...]:
        before = self.reference(self.campaign.rounds[name].after)
        change = self.adopted(name)
        return (*before, change) if change else before

    def seed_after(self, before: Sequence[str]) -> int:
        """The last seed that any of these rounds has used."""
        return max((self.standings[name].last_seed for name in before if name in self.standings), default=0)

    def resolved(self, name: str) -> SweepFile | None:
        """A round as it is frozen: its reference, levels, seeds and α in place of what its file leaves open.

        Returns:
            None where nothing differs from the reference, as where too little moved to be combined.

        Raises:
            ConfigError: a level cannot be on top of this reference.
        """
        campaign, written = self.campaign, self.campaign.rounds[name]
        is_first = campaign.next_reference == "first"
        changes = () if is_first else self.reference(written.after)
        base = (*written.base, *(item for change in changes for item in change.overrides))
        first = self.seed_after(campaign.order[: campaign.order.index(name)]) + 1
        seeds = tuple(range(first, first + len(written.seeds)))
        axes = self.moved(written) if written.moved else written.axes
        sweep = self._with(name, axes, base=base, seeds=seeds)
        return sweep if len(expand.variants(sweep)) > 1 else None

    def moved(self, sweep: SweepFile) -> dict[str, dict[str, tuple[str, ...]]]:
        """The levels of the rounds before that gained most by themselves, as axes of their own."""
        found: dict[tuple[str, str], tuple[float, tuple[str, ...]]] = {}
        for name in sweep.after:
            if (stands := self.standings.get(name)) is None:
                continue
            levels = stands.sweep.axes
            for verdict in stands.promotion.rungs[0].verdicts:
                axis, _, level = verdict.variant.partition("=")
                if level in levels.get(axis, {}):  # a combination has a comma in its label
                    gain = _gain(verdict, stands.promotion.decision.sign)
                    before = found.get((axis, level), (-math.inf, ()))
                    found[axis, level] = max(before, (gain, levels[axis][level]))
        axes: dict[str, dict[str, tuple[str, ...]]] = {}
        owner: dict[str, str] = {}
        left = sweep.moved or 0
        ranked = sorted((-gain, *place, overrides) for place, (gain, overrides) in found.items())
        for loss, axis, level, overrides in ranked:
            keys = set_fields.settings(overrides, f"axes.{axis}.{level}")
            if loss < 0 and left and all(owner.setdefault(key, axis) == axis for key in keys):
                axes.setdefault(axis, {})[level] = overrides
                left -= 1
        return axes

    def guessed(self, name: str) -> SweepFile:
        """A round before anything is known, as large as it can be: first levels stand for those that move."""
        written = self.campaign.rounds[name]
        return self._with(name, written.axes or self._some(written))

    def _with(self, name: str, axes: dict[str, dict[str, tuple[str, ...]]], **changes: Any) -> SweepFile:
        """A round's file with these axes and its part of α, ready to be frozen."""
        written = self.campaign.rounds[name]
        rule = dataclasses.replace(written.decision, alpha=self.campaign.alpha_of(name))
        changes |= {"name": self.sweep_name(name), "decision": rule, "after": (), "moved": None}
        sweep = dataclasses.replace(written, axes=axes, **changes)
        sweep = _without_copies(relative.resolved(sweep, self.extra), self.extra)
        if name in self.campaign.climb_all and sweep.axes:
            sweep = dataclasses.replace(sweep, decision=_undecided_below(sweep, self.extra))
        return sweep

    def _some(self, sweep: SweepFile) -> dict[str, dict[str, tuple[str, ...]]]:
        there = {
            axis: list(levels.items())
            for name in sweep.after
            for axis, levels in self.guessed(name).axes.items()
        }
        longest = max(map(len, there.values()), default=0)
        ranked = [
            (axis, levels[place])
            for place in range(longest)
            for axis, levels in there.items()
            if place < len(levels)
        ]
        axes: dict[str, dict[str, tuple[str, ...]]] = {}
        for axis, (level, overrides) in ranked[: sweep.moved]:
            axes.setdefault(axis, {})[level] = overrides
        return axes


def _gain(verdict: Verdict, sign: int) -> float:
    """The shrunken improvement; the measured one of single runs, which have no noise to shrink by."""
    effect = verdict.effect
    value = effect.shrunk if effect.shrunk is not None else effect.effect
    return -sign * value if value is not None and math.isfinite(value) else -math.inf


def _without_copies(sweep: SweepFile, extra: Sequence[str]) -> SweepFile:
    """Without levels that say what the reference has, as one that was adopted meanwhile."""
    reference = typed.flatten(expand.stacks(sweep, extra)[0].config(expand.above(extra)))

    def is_copy(axis: str, level: str) -> bool:
        said = set_fields.settings(sweep.axes[axis][level], f"axes.{axis}.{level}")
        return sweep.reference.get(axis) != level and all(
            key in reference and reference[key] == value for key, value in said.items()
        )

    kept = {
        axis: {level: overrides for level, overrides in levels.items() if not is_copy(axis, level)}
        for axis, levels in sweep.axes.items()
    }
    return dataclasses.replace(sweep, axes={axis: levels for axis, levels in kept.items() if levels})


def _undecided_below(sweep: SweepFile, extra: Sequence[str]) -> DecisionRule:
    """The rule, by which every variant climbs to the last rung and is decided there."""
    depth = expand.stacks(sweep, extra)[-1].config(expand.above(extra)).model.depth
    keys = {
        key
        for levels in sweep.axes.values()
        for items in levels.values()
        for key in set_fields.settings(items, "axes")
    }
    return dataclasses.replace(
        sweep.decision, scale_sensitive=dict.fromkeys(sorted(keys), depth), num_unselected=0
    )
