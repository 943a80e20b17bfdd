"""Amendments: more seeds for a last rung that was decided, which the frozen plan did not allow.

What was frozen says how many seeds there are at most. Whoever wants more after seeing the verdicts may have
them, but not mixed with those that led to the wish: an amendment is decided on fresh seeds alone, and the
k-th one at the level α / 2^k. Since the plan itself has spent α, the chance of adopting something useless is
then at most α × (2 − 2^−k), below 2α however often somebody amends; every verdict and message says the sum.

``results/<sweep>/amendment-K.json`` holds one amendment: its variants, seeds and runs, the decision that it
amends and a hash of what came before (``chain.py``).
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sweepkit import errors
from sweepkit.code import planner
from sweepkit.code.planner import Trees
from sweepkit.config import typed
from sweepkit.errors import FrozenPlanError
from sweepkit.plan.command_plan import CommandPlan, Plan
from sweepkit.sweep import chain, command_runs, horizons, reference_runs
from sweepkit.sweep.cell import VARIANT, Cell
from sweepkit.sweep.seen import Past

SCHEMA_VERSION = 1
#: Fewer seeds decide nothing.
MIN_SEEDS = 2
_STEM = "amendment"


@dataclass(frozen=True)
class Amendment:
    """Fresh seeds for some variants of a decided last rung.

    Attributes:
        number: from 1.
        amends: the rung of the plan.
        variants: labels; the reference is run beside them.
        seeds: fresh ones, alone in what the amendment decides.
        decided: digest of the decision that it amends.
        previous: hash of the amendment before, or of the frozen plan.
        cells: its runs.
        sha256: of all that.
    """

    number: int
    amends: str
    variants: tuple[str, ...]
    seeds: tuple[int, ...]
    decided: str
    previous: str
    cells: tuple[Cell, ...]
    schema_version: int = SCHEMA_VERSION
    sha256: str = field(default="", metadata=typed.UNWRITTEN)

    @property
    def rung(self) -> str:
        """The name under which its runs and verdicts stand."""
        return f"{self.amends}-amendment-{self.number}"


def level(alpha: float, number: int) -> float:
    """α of the k-th amendment."""
    return math.ldexp(alpha, -number)


def total(alpha: float, number: int) -> float:
    """The most that plan and k amendments together can be wrong."""
    return alpha * (2.0 - math.ldexp(1.0, -number))


def load(sweep_dir: Path, frozen_sha256: str) -> tuple[Amendment, ...]:
    """All amendments of a sweep, in order. Raises what ``chain.load`` does."""
    return chain.load(sweep_dir, _STEM, Amendment, SCHEMA_VERSION, frozen_sha256)


def files(sweep_dir: Path) -> list[Path]:
    """The files of amendments, in order."""
    return chain.files(sweep_dir, _STEM)


def read(path: Path) -> Amendment:
    """An amendment, without looking at those before it. Raises what ``chain.read`` does."""
    return chain.read(path, Amendment, SCHEMA_VERSION)


def propose(
    cells: Sequence[Cell],
    before: Sequence[Amendment],
    *,
    rung: str,
    variants: Sequence[str],
    count: int,
    decided: str,
    frozen_sha256: str,
    past: Past,
    trees: Trees | None = None,
) -> Amendment:
    """The next amendment: seeds that the sweep does not use, and with which nothing was seen.

    Args:
        cells: every cell that the sweep has, of all rungs, trials and amendments: their seeds are used.
        before: the amendments so far.
        rung: the last one.
        variants: whose seeds are wanted; the reference, at all its horizons, comes with them.
        count: how many seeds.
        decided: digest of the decision that is amended.
        frozen_sha256: of the plan.
        past: what is known of runs by now.
        trees: the sweep's frozen code.
    """
    number = len(before) + 1
    name = Amendment(number, rung, (), (), "", "", ()).rung
    asked = {*variants, *(cell.variant for cell in cells if cell.role != VARIANT)}
    here = [cell for cell in cells if cell.rung == rung and cell.variant in asked]
    templates = {(cell.variant, cell.number): cell for cell in reversed(here)}
    wanted = [cell for cell in here if templates[cell.variant, cell.number] is cell]
    for cell in here:
        if cell.plan.variant_id != templates[cell.variant, cell.number].plan.variant_id:
            raise errors.invalid(
                "--amend-to",
                len({item.plan.seed for item in here}) + count,
                f"be left out: {cell.variant} is another run with every seed (a field refers to ${{seed}})",
                "write a sweep file of the seeds you want",
            )
    unused = itertools.count(max(cell.plan.seed for cell in cells) + 1)
    fresh_seeds = (seed for seed in unused if not any(past.seen(cell.plan, seed) for cell in wanted))
    seeds = tuple(itertools.islice(fresh_seeds, count))
    fresh = [
        dataclasses.replace(cell, rung=name, plan=with_seed(cell.plan, seed, cell.number, trees))
        for seed in seeds
        for cell in wanted
    ]
    previous = before[-1].sha256 if before else frozen_sha256
    return Amendment(
        number, rung, tuple(variants), seeds, decided, previous, tuple(horizons.interleaved(fresh))
    )


def with_seed(plan: Plan, seed: int, number: int, trees: Trees | None = None) -> Plan:
    """The plan of another replicate; ``number`` counts the reference's runs of one seed.

    Args:
        trees: the frozen code that plans it, where it is of some.

    Raises:
        FrozenPlanError: its text, or what this version computes, is no longer what was frozen.
    """
    if isinstance(plan, CommandPlan):
        return command_runs.with_seed(plan, seed)
    config = plan.config
    own_weights = config.init_seed is not None
    build = trees.of(plan.tree).build if trees and plan.tree else planner.Here().build
    found = reference_runs.plan(reference_runs.reseeded(config), seed, own_weights, number, build)
    if found.variant_id != plan.variant_id:
        raise FrozenPlanError(
            f"another seed of {plan.run_id} comes out as variant {found.variant_id}, but must be a replicate "
            f"of {plan.variant_id}, which was frozen; restore the files of dataset.path or the version of "
            "sweepkit that planned it, or give the sweep file a new name"
        )
    return found


def record(sweep_dir: Path, amendment: Amendment) -> None:
    """Write an amendment. Raises what ``chain.record`` does."""
    chain.record(sweep_dir / f"{_STEM}-{amendment.number}.json", amendment)


def check_count(asked: int, there: int) -> None:
    """Raises ConfigError where so few more seeds decide nothing."""
    if asked - there < MIN_SEEDS:
        raise errors.invalid(
            "--amend-to",
            asked,
            f"be at least {there + MIN_SEEDS}: every variant has {there} seeds by now, and fewer than "
            f"{MIN_SEEDS} fresh ones decide nothing",
            f"write --amend-to {there + max(MIN_SEEDS, there)}",
        )
