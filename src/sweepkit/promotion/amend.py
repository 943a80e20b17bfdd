"""Asking for an amendment: whose seeds, how many, and whether the last rung is ready for one.

What is asked for is how many seeds there shall be in all, so that asking again asks for nothing more. The
amendment is recorded before anything of it runs (``sweep/amendments.py``); the ladder then takes it as its
next stage, whoever climbs it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sweepkit import errors
from sweepkit.promotion import deferred, verdict_file
from sweepkit.promotion.verdict_record import Outcome
from sweepkit.results.columns import REFERENCE
from sweepkit.sweep import amendments
from sweepkit.sweep.amendments import Amendment
from sweepkit.sweep.frozen import Frozen
from sweepkit.sweep.seen import Past


def amend(
    frozen: Frozen,
    to_seeds: int,
    variants: Sequence[str] = (),
    check: Callable[[Sequence[str]], None] = lambda variants: None,
) -> Amendment | None:
    """Record the next amendment of a sweep whose last rung is decided.

    Args:
        frozen: the sweep, as it was just loaded.
        to_seeds: how many seeds every variant shall have had on the last rung, amendments counted.
        variants: labels; none: all that are inconclusive there.
        check: raises where an amendment for these variants would be of no use.

    Returns:
        What was recorded; None where there are that many seeds already.

    Raises:
        ConfigError: the last rung (or the last amendment) is not decided, nothing is open, a variant was not
            judged there or was adopted, or so few seeds decide nothing.
        FrozenPlanError: another command recorded another amendment meanwhile.
    """
    rung = frozen.rungs[-1].name
    there = seeds_so_far(frozen)
    if to_seeds <= there:
        _check_same(frozen, to_seeds, there, variants)
        return None
    latest = frozen.amendments[-1].rung if frozen.amendments else rung
    decided = verdict_file.read(frozen)
    if latest not in decided or any(verdict.climbs for verdict in decided[latest].verdicts):
        raise errors.invalid(
            "--amend-to",
            to_seeds,
            f"follow a decision, and {latest} has none that stands",
            f"run sweepkit promote {frozen.name} first, without --amend-to",
        )
    wanted = _wanted(frozen, to_seeds, variants)
    check(wanted)  # first, for it knows how many seeds it takes
    amendments.check_count(to_seeds, there)
    amendment = amendments.propose(
        frozen.cells,
        frozen.amendments,
        rung=rung,
        variants=wanted,
        count=to_seeds - there,
        decided=decided[latest].inputs_sha256,
        frozen_sha256=frozen.sha256,
        past=Past(frozen.sweep_dir.parent, frozen.name),
        trees=frozen.trees,
    )
    amendments.record(frozen.sweep_dir, amendment)
    return amendment


def seeds_so_far(frozen: Frozen) -> int:
    """How many seeds the last rung has in plan and amendments together."""
    rung = frozen.rungs[-1].name
    planned = {cell.plan.seed for cell in frozen.cells if cell.rung == rung and cell.variant == REFERENCE}
    return len(planned) + sum(len(amendment.seeds) for amendment in frozen.amendments)


def _wanted(frozen: Frozen, to_seeds: int, variants: Sequence[str]) -> list[str]:
    """The variants that are asked for, or all that are open, in the order of the last rung's verdicts."""
    rung = frozen.rungs[-1].name
    decided = verdict_file.read(frozen)
    results = [
        decided[name] for name in (rung, *(item.rung for item in frozen.amendments)) if name in decided
    ]
    standing = {
        verdict.variant: verdict.outcome
        for result in results
        for verdict in result.verdicts
        if verdict.outcome is not Outcome.unselected
    }
    here = [cell for cell in frozen.cells if cell.rung == rung]
    too_small = deferred.deferred(here, frozen.rule_on(rung))
    may_be = [
        name for name, outcome in standing.items() if outcome is not Outcome.adopt and name not in too_small
    ]
    for name in variants:
        if name not in may_be:
            raise errors.invalid(
                "--amend-variant",
                name,
                f"have been judged on rung {rung} and not adopted",
                errors.did_you_mean(name, may_be) if may_be else "nothing there can be amended",
            )
    found = [
        name
        for name in may_be
        if name in variants or (not variants and standing[name] is Outcome.inconclusive)
    ]
    if not found:
        raise errors.invalid(
            "--amend-to",
            to_seeds,
            f"be for what rung {rung} left inconclusive, and it left nothing",
            f"name a rejected variant with --amend-variant ({', '.join(may_be)})"
            if may_be
            else "what was adopted needs no more",
        )
    return found


def _check_same(frozen: Frozen, to_seeds: int, there: int, variants: Sequence[str]) -> None:
    """Other variants than those that were amended need seeds of their own."""
    if variants and (not frozen.amendments or set(variants) != set(frozen.amendments[-1].variants)):
        last = frozen.amendments[-1].variants if frozen.amendments else ()
        raise errors.invalid(
            "--amend-to",
            to_seeds,
            f"be more than the {there} seeds that there are"
            + (f" (the last of them for {', '.join(last)})" if last else ""),
            f"write --amend-to {there + max(amendments.MIN_SEEDS, there)}",
        )
