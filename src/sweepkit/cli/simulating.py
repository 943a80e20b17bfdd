"""``sweepkit promote NAME --simulate``: a sweep's own design in synthetic worlds, nothing spent."""

from __future__ import annotations

from collections.abc import Sequence

from sweepkit.analysis import calibration_file
from sweepkit.cli import running, simulate
from sweepkit.config import paths
from sweepkit.config.schema import RungConfig
from sweepkit.errors import invalid
from sweepkit.promotion.simulation import of_sweep, policies, worlds
from sweepkit.promotion.simulation.of_sweep import Proposal
from sweepkit.report import drawing, terminal
from sweepkit.report.sheet import Mark, Sheet
from sweepkit.sweep import expand
from sweepkit.sweep.search_spec import SearchSpec

NUM_WORLDS, SEED = 500, 1
_FEW_WORLDS = 100  # a kind and design, where many designs are tried; the best are played again in others
_SHOWN = 8


def run(name: str, overrides: Sequence[str], gpu_hours: float | None) -> int:
    """Tell how often the sweep would be wrong, or which designs a budget pays for."""
    if gpu_hours is not None and not gpu_hours > 0:
        raise invalid(
            "--gpu-hours", gpu_hours, "be above 0", "sweepkit plan sweep=NAME says what a sweep costs"
        )
    sweep = running.load_sweep(name, overrides, paths.results_dir())
    cells = expand.expand_all(sweep, overrides)
    rungs = expand.rungs_of(expand.ladder_of(sweep, overrides))
    if sweep.search:
        rungs = _of_a_search(sweep.search, rungs, name, gpu_hours)
    num_proposed = sweep.search.n_trials if sweep.search else 0
    known = calibration_file.read(paths.results_dir())
    kinds = of_sweep.worlds_of(worlds.load(), cells, rungs, sweep.decision, known, num_proposed)
    if not known:
        print("the noise was not measured, so it is taken as in worlds.yaml, scaled to this min_effect;")
        if not sweep.command:
            print(f"sweepkit calibrate sweep={name} measures it")
    if gpu_hours is not None:
        hours = cells[0].plan.estimated_gpu_hours
        if hours is None:
            raise invalid("--gpu-hours", gpu_hours, "be on a known device", "set launcher.plan_device")
        tried = of_sweep.within(kinds, sweep.decision, hours, gpu_hours, _FEW_WORLDS, SEED)
        best = of_sweep.again(kinds, tried[:_SHOWN], NUM_WORLDS, SEED + 1)
        _show(best, [rung.name for rung in rungs], gpu_hours, sweep.decision.alpha)
        return 0
    plan = of_sweep.design_of(cells, rungs, sweep.decision, is_searched=sweep.search is not None)
    players = policies.usual() | {policies.SWEEPKIT: policies.sweepkit(plan)}
    scores = simulate.play_with_progress(kinds, players, NUM_WORLDS, SEED)
    simulate.show(scores, "table", sweep.decision.alpha)
    print(f"{sweep.name}: {plan.describe()}")
    if num_proposed:
        print(
            f"its trials ({num_proposed}) are drawn as a world draws variants. What a sampler learns would "
            "find more; how often it is wrong is up to the further rungs, which decide on runs of their own"
        )
    return 0


def _of_a_search(
    spec: SearchSpec, rungs: Sequence[RungConfig], name: str, gpu_hours: float | None
) -> list[RungConfig]:
    """The rungs as a search climbs them. Raises ConfigError where there is nothing to play."""
    if gpu_hours is not None:
        contract = "be left out for a search, whose trials n_trials says"
        raise invalid("--gpu-hours", gpu_hours, contract, "sweepkit plan sweep=NAME costs it")
    if len(rungs) < 2:
        contract = "have a ladder, for a search adopts nothing where it searches"
        raise invalid("--simulate", name, contract, "name one (ladder: gpt2)")
    return spec.limited(rungs)


def _show(proposals: Sequence[Proposal], rungs: Sequence[str], budget: float, alpha: float) -> None:
    if not proposals:
        print(f"no design fits {budget:g} GPU-hours; take fewer rungs or a smaller ladder")
        return
    sheet = Sheet((">GPU-h", ">variants", "rungs", "design", "false adoption", ">true gain"))
    for item in proposals:
        low, high = item.worst.false_adoption_interval()
        errs = f"{item.worst.false_adoption:.1%} ({100 * low:.1f} to {high:.1%})"
        sheet.add(
            f"{item.gpu_hours:.3g}",
            str(item.num_variants),
            ", ".join(rungs[stage.rung] for stage in item.design.stages),
            item.design.describe(),
            Mark(errs, "failed" if item.worst.exceeds(alpha) else "met"),
            f"{item.gain:.5f}",
        )
    console = terminal.console()
    console.print(drawing.draw(sheet))
    console.print(
        f"what {budget:g} GPU-hours pay for, best true gain first (mean over all worlds, bits per byte); "
        "put it into the sweep file: levels, ladder (num_seeds, max_promoted), decision.looks\n"
        f"false adoption is to stay at or under {alpha:.0%}; shown is the kind of world where it is highest, "
        f"with its 95% interval from {NUM_WORLDS} worlds",
        style="dim",
    )
