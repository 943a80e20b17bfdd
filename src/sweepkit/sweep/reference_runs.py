"""How often the reference runs with one seed, and the weights that every run then starts from.

All variants of a rung are held against the same reference, so its noise is in every effect. With m runs of
it a seed, which see the same tokens and start from other weights, an effect has the variance
σ² (1 + 1/m) / n, for (k + m) / (k + 1) of the cost of k variants; the product is smallest at m = √k.

The fit behind the effects is "variant + seed + noise". If the variants started from the weights of one of
the reference's runs, what those weights do would be in the seed for them and in the noise for the others. So
where the reference runs more than once a seed, every run starts from weights of its own, drawn from what it
is (its variant_id), its seed and its number; the same run of another sweep is then the same run.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from sweepkit import fsio
from sweepkit.config.schema import LadderConfig, RunConfig, RungConfig
from sweepkit.plan import build
from sweepkit.plan.run_plan import RunPlan
from sweepkit.sweep.file import REPLICATES, SweepFile

#: seed, init_seed → the configuration of a variant.
Composing = Callable[[int, int | None], RunConfig]


def wanted(sweep: SweepFile, ladder: LadderConfig | None) -> int | str:
    """The sweep file's number or ``auto``, else the ladder's, else 1."""
    if sweep.reference_replicates is not None or ladder is None:
        return sweep.reference_replicates or 1
    REPLICATES.check("ladder.reference_replicates", ladder.reference_replicates, "")
    return ladder.reference_replicates


def on_rung(wanted: int | str, num_seeds: int, num_variants: int, proposes: bool = False) -> int:
    """Runs of the reference a seed.

    Args:
        wanted: a number, or ``auto`` for about the root of the number of variants.
        num_seeds: of the rung. Single runs only rank, and the reference does not change their order.
        num_variants: the most that are compared there.
        proposes: whether a search's trials are proposed there, which are compared among themselves.
    """
    if num_seeds < 2:
        return 1
    if isinstance(wanted, int):
        return wanted
    return 1 if proposes else max(1, round(math.sqrt(num_variants)))


def most_variants(sweep: SweepFile, num_fixed: int, rungs: Sequence[RungConfig], place: int) -> int:
    """The most variants that are compared on rung number ``place``, from the bottom."""
    num_variants = num_fixed + (sweep.search.n_trials if sweep.search else 0)
    limits = [rung.max_promoted for rung in rungs[:place] if rung.max_promoted is not None]
    return min([num_variants, *limits])


def plan(
    compose: Composing,
    seed: int,
    own_weights: bool,
    number: int = 0,
    build: Callable[[RunConfig], RunPlan] = build.build,
) -> RunPlan:
    """The run of a variant with a seed; with ``own_weights`` from weights of this run alone.

    Args:
        build: of the code that carries it out.
        compose: the variant's configuration with a seed, and with a seed of weights. Other fields may refer
            to them, so they are composed with the rest and not set afterwards.
    """
    found = build(compose(seed, None))
    if not own_weights:
        return found
    return build(compose(seed, init_seed(found.variant_id, seed, number)))


def reseeded(config: RunConfig) -> Composing:
    """For ``plan``: a configuration in which nothing refers to the seeds."""
    return lambda seed, init_seed: dataclasses.replace(config, seed=seed, init_seed=init_seed)


def init_seed(variant_id: str, seed: int, number: int) -> int:
    """What the weights of run ``number`` of a variant and seed are drawn from."""
    return int(fsio.digest([variant_id, seed, number])[:7], 16)
