"""A picture of the simulator's scores: error beside what is gained for the compute."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from sweepkit import fsio
from sweepkit.promotion.simulation.play import Score


def write(scores: Sequence[Score], alpha: float, path: Path) -> None:
    """False adoption on the left, true gain per thousand runs on the right; a group of bars a world.

    Args:
        path: its suffix says the format, as matplotlib knows them.
    """
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    error, gain = figure.subplots(1, 2)
    kinds = list(dict.fromkeys(score.world for score in scores))
    players = list(dict.fromkeys(score.policy for score in scores))
    width = 0.8 / len(players)
    for place, policy in enumerate(players):
        mine = {score.world: score for score in scores if score.policy == policy}
        shown = [kind for kind in kinds if kind in mine]
        x = [kinds.index(kind) + (place - (len(players) - 1) / 2) * width for kind in shown]
        error.bar(x, [mine[kind].false_adoption for kind in shown], width, label=policy)
        gain.bar(x, [mine[kind].gain_per_compute for kind in shown], width, label=policy)
    error.axhline(alpha, color="black", linewidth=1, linestyle="--")
    error.set_ylabel("adopts something useless or harmful")
    gain.set_ylabel("true gain, bits per byte in 1000 runs of the lowest rung")
    for axes in (error, gain):
        axes.set_xticks(range(len(kinds)), [kind.replace("_", "\n") for kind in kinds])
    gain.legend(frameon=False)
    kind = path.suffix.removeprefix(".").lower()
    fsio.write_atomic(path, lambda file: figure.savefig(file, dpi=150, format=kind))
