"""A campaign file: rounds of sweeps that build on each other, and how the whole is decided.

A campaign is a folder: ``campaign.yaml`` beside the sweep files of its rounds, which say what they come
``after:``.

    question: What is left to gain?
    order: [lr_groups, betas, pairs]
    alpha: 0.05                      # of the whole campaign
    shares: {lr_groups: 2}           # of alpha, relative to 1 for a round that is left out
    next_reference: best             # the best variant that a round adopted; first: all rounds go on from one
    final_seeds: 5
    ladders: {mini: [decision.min_effect=0.002]}   # what goes with ladder=mini

``load`` takes a folder's path as it is, and looks for a name in ./sweeps, then among the shipped ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import yaml  # type: ignore[import-untyped]

from sweepkit import errors
from sweepkit.config import paths, typed, yaml_words
from sweepkit.config.facts import REQUIRED, fact
from sweepkit.config.ranges import at_least, between, each, more_than_zero
from sweepkit.sweep import file, labels, set_fields
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.file import SweepFile

FILE = "campaign.yaml"


@dataclass(frozen=True)
class Campaign:
    """What ``campaign.yaml`` says, and the rounds as their files say them."""

    name: str = fact(REQUIRED, "that of its folder")
    order: tuple[str, ...] = fact(REQUIRED, "names of all rounds, as they are run")
    question: str = fact("", "what the campaign is to answer, in a sentence")
    alpha: float = fact(0.05, "chance that any round adopts something useless", between(1e-9, 0.5))
    shares: dict[str, float] = fact(
        {}, "round → its share of alpha, where others have 1", each(more_than_zero(1e6))
    )
    next_reference: Literal["best", "first"] = fact(
        "best",
        "what a round goes on from: the best variant that the rounds before adopted, or always the first",
    )
    climb_all: tuple[str, ...] = fact((), "rounds in which every variant is run on every rung")
    final_seeds: int = fact(5, "seeds of the last reference against the first, on every rung", at_least(5))
    ladders: dict[str, tuple[str, ...]] = fact({}, "ladder → overrides that go with it")
    rounds: dict[str, SweepFile] = fact({}, "name → sweep file, in order", is_written=False)

    def __post_init__(self) -> None:
        for key, names in [("shares", self.shares), ("climb_all", self.climb_all)]:
            for name in names:
                if name not in self.order:
                    raise errors.invalid(key, name, "be a round", errors.did_you_mean(name, self.order))
        for name, overrides in self.ladders.items():
            set_fields.check(f"ladders.{name}", overrides)

    def alpha_of(self, name: str) -> float:
        """A round's part of alpha; all parts together are alpha, so Bonferroni's inequality holds it."""
        shares = [self.shares.get(item, 1.0) for item in self.order]
        return self.alpha * self.shares.get(name, 1.0) / sum(shares)

    def settings(self, overrides: Sequence[str]) -> tuple[list[str], list[str]]:
        """Overrides of runs, and of the rule, with what goes with the ladder that they name."""
        default = next(iter(self.rounds.values())).ladder
        named = [item.partition("=")[2] for item in overrides if item.startswith("ladder=")]
        ladder = named[-1] if named else default
        given = [*self.ladders.get(str(ladder or ""), ()), *overrides]
        rule = [item for item in given if item.startswith("decision.")]
        return [item for item in given if item not in rule], rule


def load(name_or_folder: str, rule: Sequence[str] = ()) -> Campaign:
    """Read and check a campaign and its sweep files.

    Args:
        rule: overrides of every round's decision rule.

    Raises:
        ConfigError: there is none of that name, or a file breaks the contract.
    """
    folder = find(name_or_folder)
    try:
        content: Any = yaml_words.read((folder / FILE).read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        detail = " ".join(str(error).split())
        raise errors.invalid(
            "campaign", str(folder / FILE), f"be valid YAML ({detail})", "correct that line"
        ) from error
    if not isinstance(content, dict):
        raise errors.invalid("campaign", str(folder / FILE), "map keys to values", "begin with order:")
    labels.check("campaign", folder.name, "campaign")
    found = typed.load(Campaign, {str(key): item for key, item in content.items()} | {"name": folder.name})
    there = {path.stem for path in folder.glob("*.yaml")} - {Path(FILE).stem}
    for name in {*found.order} ^ there:
        contract = "be the name of a sweep file beside it" if name in found.order else "list every round"
        raise errors.invalid("order", name, contract, f"beside {FILE} lie {', '.join(sorted(there))}")
    if not found.order or len(set(found.order)) != len(found.order):
        raise errors.invalid("order", list(found.order), "name every round once", "delete the second")
    rounds = {name: file.load(str(folder / f"{name}.yaml")) for name in found.order}
    for place, (name, sweep) in enumerate(rounds.items()):
        _check(name, sweep, found.order[:place])
    judged = {
        name: replace(sweep, decision=DecisionRule.amended(rule, sweep.decision))
        for name, sweep in rounds.items()
    }
    return replace(found, rounds=judged)


def find(name: str) -> Path:
    """The folder of a campaign. Raises ConfigError with a list of what there is."""
    places = [Path(name), Path("sweeps") / name, paths.sweeps_dir() / name]
    for folder in places:
        if (folder / FILE).is_file():
            return folder.resolve()
    known = sorted({path.parent.name for place in places[1:] for path in place.parent.glob(f"*/{FILE}")})
    remedy = errors.did_you_mean(name, known) if known else "write one first"
    raise errors.invalid("campaign", name, f"be a folder with {FILE}, or one in {places[2].parent}", remedy)


def _check(name: str, sweep: SweepFile, before: Sequence[str]) -> None:
    for earlier in sweep.after:
        if earlier not in before:
            remedy = f"those are {', '.join(before) or 'none'}; order: says which come first"
            raise errors.invalid(f"{name}: after", earlier, "be a round before it", remedy)
    if sweep.moved and not sweep.after:
        raise errors.invalid(f"{name}: moved", sweep.moved, "come with after:", "name the rounds it is from")
    if sweep.moved and sweep.axes:
        raise errors.invalid(f"{name}: moved", sweep.moved, "stand instead of axes", "delete one of them")
    if sweep.search:
        raise errors.invalid(
            f"{name}: search", "...", "be left out of a campaign", "search in a sweep of its own"
        )
    if not sweep.seeds:
        raise errors.invalid(f"{name}: seeds", "auto", "be listed in a campaign", "write [1, 2, 3]")
