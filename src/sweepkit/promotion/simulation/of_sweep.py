"""A sweep that is about to be run, as a design and a world: its variants, rungs, seeds, limits and costs."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sweepkit.analysis.calibration import Calibration
from sweepkit.config.schema import RungConfig
from sweepkit.plan.run_spec import RunSpec
from sweepkit.promotion.simulation import design, play, policies
from sweepkit.promotion.simulation.design import Design, Stage
from sweepkit.promotion.simulation.play import Score
from sweepkit.promotion.simulation.worlds import World
from sweepkit.results.columns import REFERENCE, is_reference
from sweepkit.sweep import last_rung
from sweepkit.sweep.cell import Cell
from sweepkit.sweep.decision import DecisionRule

#: Without a calibration a world's noise is taken as it stands in worlds.yaml, in parts of its min_effect.
_USUAL_MIN_EFFECT = 0.0003


def design_of(
    cells: Sequence[Cell], rungs: Sequence[RungConfig], decision: DecisionRule, is_searched: bool = False
) -> Design:
    """The design that ``promote`` would run.

    Args:
        is_searched: whether a search proposes what is run on the lowest rung.
    """
    stages = []
    for place, rung in enumerate(rungs):
        reference = [cell for cell in cells if cell.rung == rung.name and cell.variant == REFERENCE]
        seeds = len({cell.plan.seed for cell in reference})
        is_last = place == len(rungs) - 1
        keep, looks = (None, decision.looks) if is_last else (rung.max_promoted, ())
        replicates = max(cell.number for cell in reference) + 1
        stages.append(Stage(place, seeds, keep, looks, replicates, is_searched and place == 0))
    return Design(tuple(stages), decision)


def worlds_of(
    kinds: Mapping[str, World],
    cells: Sequence[Cell],
    rungs: Sequence[RungConfig],
    decision: DecisionRule,
    known: Sequence[Calibration],
    num_proposed: int = 0,
) -> dict[str, World]:
    """The frozen kinds of worlds with this sweep's variants, rungs, costs and, where it was measured, noise.

    Effects scale with the sweep's min_effect, so that in every kind some variants are worth having.

    Args:
        num_proposed: variants that a search proposes beside those of the cells.
    """
    num_variants = num_proposed + len({cell.variant for cell in cells if not is_reference(cell.variant)})
    plans = [next(cell.plan for cell in cells if cell.rung == rung.name) for rung in rungs]
    metrics = [decision.metric] * (len(rungs) - 1) + [last_rung.metric(decision, rungs, plans[-1].config)]
    unit = (decision.min_effect or _USUAL_MIN_EFFECT) / _USUAL_MIN_EFFECT
    found: dict[str, World] = {}
    for name, kind in kinds.items():
        places = [round(i * (kind.num_rungs - 1) / max(1, len(rungs) - 1)) for i in range(len(rungs))]
        places[-1] = kind.num_rungs - 1
        measured = [
            next((it.sd for it in known if (it.metric, it.depth) == (metric, plan.depth)), None)
            for metric, plan in zip(metrics, plans, strict=True)
        ]
        noise = tuple(
            unit * kind.noise_sd[place] if sd is None else sd
            for place, sd in zip(places, measured, strict=True)
        )
        found[name] = dataclasses.replace(
            kind,
            grid=(num_variants,),
            effect_mean=unit * kind.effect_mean,
            effect_sd=unit * kind.effect_sd,
            cliff_effect=unit * kind.cliff_effect,
            scale=tuple(kind.scale[place] for place in places),
            noise_sd=noise,
            luck_sd=noise,
            cost=tuple(_work(plan) / _work(plans[0]) for plan in plans),
        )
    return found


def _work(plan: RunSpec) -> int:
    """FLOPs of a run; all alike where they are not known."""
    return plan.total_flops or 1


@dataclass(frozen=True)
class Proposal:
    """A design on some of the rungs, how it scores, and the dearest it can be.

    Attributes:
        worst: its score in the kind of world where it is wrong most often.
        gain: mean true improvement over all worlds, bits per byte.
        gpu_hours: if nothing stops early.
    """

    design: Design
    num_variants: int
    worst: Score
    gain: float
    gpu_hours: float


def within(
    kinds: Mapping[str, World],
    decision: DecisionRule,
    hours_of_one: float,
    budget_hours: float,
    num_worlds: int,
    seed: int,
    on_progress: Callable[[str, str], None] = lambda world, policy: None,
) -> list[Proposal]:
    """Designs that a budget pays for even if nothing stops early, the most true gain first.

    Those that are shown to adopt something useless too often (a ladder that ends too low) come last.

    Args:
        kinds: worlds of the sweep, with all its variants; fewer are tried too.
        decision: the rule; its looks are replaced.
        hours_of_one: GPU-hours of a run on the lowest rung.
        budget_hours: GPU-hours that may be spent.
        num_worlds, seed: as for ``play``.
    """
    first = next(iter(kinds.values()))
    proposals = []
    for candidate, num_variants in _candidates(first, decision):
        hours = hours_of_one * _dearest(candidate, num_variants, first.cost)
        if hours <= budget_hours:
            proposals.append(_scored(kinds, candidate, num_variants, hours, num_worlds, seed, on_progress))
    return _best_first(proposals)


def again(
    kinds: Mapping[str, World],
    proposals: Sequence[Proposal],
    num_worlds: int,
    seed: int,
    on_progress: Callable[[str, str], None] = lambda world, policy: None,
) -> list[Proposal]:
    """The same designs in other worlds: the best of many scores is also the luckiest.

    Args:
        num_worlds, seed: as for ``play``; another seed than the one they were chosen with.
    """
    return _best_first(
        [
            _scored(kinds, item.design, item.num_variants, item.gpu_hours, num_worlds, seed, on_progress)
            for item in proposals
        ]
    )


def _scored(
    kinds: Mapping[str, World],
    candidate: Design,
    num_variants: int,
    hours: float,
    num_worlds: int,
    seed: int,
    on_progress: Callable[[str, str], None],
) -> Proposal:
    smaller = {name: dataclasses.replace(kind, grid=(num_variants,)) for name, kind in kinds.items()}
    player = {policies.SWEEPKIT: policies.sweepkit(candidate)}
    scores = play.play(smaller, player, num_worlds, seed, on_progress)
    worst = max(scores, key=lambda score: score.false_adoption)
    gain = sum(score.gain for score in scores) / len(scores)
    return Proposal(candidate, num_variants, worst, gain, hours)


def _best_first(proposals: Sequence[Proposal]) -> list[Proposal]:
    def key(item: Proposal) -> tuple[bool, float, float]:
        return item.worst.exceeds(item.design.decision.alpha), -item.gain, item.gpu_hours

    return sorted(proposals, key=key)


def _candidates(world: World, decision: DecisionRule) -> list[tuple[Design, int]]:
    """Over how many variants, which rungs, the looks at the top and how many variants come there.

    A ladder may end below the target: what is adopted there has to hold at the target all the same.
    """
    top = world.num_rungs - 1
    whole = tuple(range(world.num_rungs))
    ladders = dict.fromkeys([whole, (0, top), (top,), whole[:-1] or whole, (0,)])
    sizes = sorted({max(2, world.num_variants // part) for part in (1, 2, 4)})
    found = []
    for rungs, num, looks, keep in itertools.product(ladders, sizes, ((3, 5, 8), (3, 6), (2, 4)), (2, 4, 8)):
        if num > world.num_variants or (len(rungs) > 1 and keep >= num) or (len(rungs) == 1 and keep > 2):
            continue
        stages, left = [], num
        for place in rungs[:-1]:
            left = keep if place == rungs[-2] else max(keep, round(left**0.5))
            stages.append(Stage(place, 1, left))
        stages.append(Stage(rungs[-1], looks[-1], None, looks))
        found.append((design.Design(tuple(stages), dataclasses.replace(decision, looks=looks)), num))
    return found


def _dearest(candidate: Design, num_variants: int, cost: Sequence[float]) -> float:
    total, left = 0.0, num_variants
    for stage in candidate.stages:
        total += (left + stage.reference_replicates) * stage.seeds * cost[stage.rung]
        left = stage.keep or left
    return total
