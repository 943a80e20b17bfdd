"""How often one rung's verdicts are wrong, where noise is not what the rule would like it to be.

The worlds and the bars are in ``verdict_worlds.yaml``. Every world is one table of runs, judged by the code
that judges real ones: ``effects``, ``multiplicity`` and ``judging``. Arrays carry their axes as suffixes: W
worlds, Q runs (the reference's first, then each variant's, by seed).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml  # type: ignore[import-untyped]
from numpy.typing import NDArray

from sweepkit.analysis import axes, effects, multiplicity, replicates
from sweepkit.analysis.stability import Divergence
from sweepkit.promotion import judging
from sweepkit.promotion.case import Case
from sweepkit.results.columns import REFERENCE
from sweepkit.results.record import FailureClass, RunState
from sweepkit.sweep.decision import NOT_WORSE, SUPERIOR, DecisionRule

FILE = Path(__file__).with_name("verdict_worlds.yaml")
METRIC = "val_bpb"
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Rung:
    """One kind of rung; the fields are explained in ``verdict_worlds.yaml``."""

    name: str
    alpha: float
    num_variants: int
    luck_sd: float
    reference_sd: float
    noisy_variants: int
    noisy_sd: float
    log_sd: float
    reference_run_off: float
    worst_lost: float


@dataclass(frozen=True)
class Cell:
    """A kind of rung with a design, and how many of its variants are truly better, by how much."""

    rung: Rung
    seeds: int
    replicates: int
    num_better: int = 0
    effect: float = 0.0

    @property
    def design(self) -> int | str:
        """As the file writes it."""
        return self.seeds if self.replicates == 1 else f"{self.seeds} twice"


@dataclass(frozen=True)
class Rates:
    """What was decided in so many worlds of one cell.

    Attributes:
        promoted: share of worlds in which a variant without an effect was promoted.
        shown: share of the variants with an effect that were promoted; None where none has one.
        waits: share of worlds whose verdict waits, for a run of the reference is out of line.
    """

    cell: Cell
    num_worlds: int
    promoted: float
    shown: float | None
    waits: float


def load(path: Path = FILE) -> dict[str, Any]:
    """The frozen file, with ``Rung`` values under ``worlds``."""
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    known = {item.name for item in fields(Rung)} - {"name"}
    assert set(content["common"]) == known, set(content["common"]) ^ known
    content["worlds"] = {
        name: Rung(name=name, **(content["common"] | changes)) for name, changes in content["worlds"].items()
    }
    return content


def cells(content: Mapping[str, Any]) -> list[Cell]:
    """All that is measured: worlds without effects, then the power on clean noise."""
    null = [
        Cell(content["worlds"][name], *_design(design))
        for name, designs in content["bars"].items()
        for design in designs
    ]
    power = [
        Cell(content["worlds"]["clean"], *_design(design), num_better, effect)
        for design, effect in content["power"]["effect"].items()
        for num_better in content["power"]["better"]
    ]
    return null + power


def bar(content: Mapping[str, Any], cell: Cell) -> float | None:
    """The highest share of false promotions that the cell may have; None where it is reported alone."""
    return None if cell.num_better else content["bars"][cell.rung.name][cell.design]


def _design(written: int | str) -> tuple[int, int]:
    """Seeds and runs of the reference a seed."""
    return int(str(written).split()[0]), 2 if "twice" in str(written) else 1


def measure(cell: Cell, num_worlds: int, seed: int) -> Rates:
    """Judge ``num_worlds`` worlds; the same arguments give the same rates."""
    words = f"{cell.rung.name} {cell.design} {cell.num_better}".encode()
    rng = np.random.default_rng([seed, *words])
    loss_WQ, frame = draw(cell, num_worlds, rng)
    rule = DecisionRule(alpha=cell.rung.alpha, min_effect=0.0, axes={"steps": SUPERIOR})
    wrong, right, waiting = 0, 0, 0
    for loss_Q in loss_WQ:
        promoted, waits = judge(frame.assign(**{METRIC: loss_Q}), rule)
        better = [name for name in promoted if int(name[1:]) < cell.num_better]
        right += len(better)
        wrong += len(better) < len(promoted)
        waiting += waits
    shown = right / (num_worlds * cell.num_better) if cell.num_better else None
    return Rates(cell, num_worlds, wrong / num_worlds, shown, waiting / num_worlds)


def draw(cell: Cell, num_worlds: int, rng: np.random.Generator) -> tuple[Array, pd.DataFrame]:
    """Losses [W, Q], NaN where a run was lost; and the Q runs, whose losses are still to be filled in."""
    rung, n, m = cell.rung, cell.seeds, cell.replicates
    sd_WG = np.ones((num_worlds, 1 + rung.num_variants))
    sd_WG[:, 0] = rung.reference_sd
    sd_WG[:, 1 + rung.num_variants - rung.noisy_variants :] = rung.noisy_sd
    sd_WG = sd_WG * np.exp(rung.log_sd * rng.standard_normal(sd_WG.shape))
    luck_W1N = rung.luck_sd * rng.standard_normal((num_worlds, 1, n))
    reference_WMN = luck_W1N + sd_WG[:, :1, None] * rng.standard_normal((num_worlds, m, n))
    reference_WMN[:, 0, 0] += rung.reference_run_off
    own_WVN = sd_WG[:, 1:, None] * rng.standard_normal((num_worlds, rung.num_variants, n))
    own_WVN[:, : cell.num_better] -= cell.effect
    loss_WVN = luck_W1N + own_WVN
    lost_WV1 = rng.random((num_worlds, rung.num_variants, 1)) < rung.worst_lost
    loss_WVN[lost_WV1 & (own_WVN == own_WVN.max(axis=2, keepdims=True))] = np.nan
    variant = [REFERENCE] * (m * n) + [f"v{i}" for i in range(rung.num_variants) for _ in range(n)]
    frame = pd.DataFrame({"variant": variant, "seed": list(range(n)) * (m + rung.num_variants)})
    frame["pair_key"] = "order-" + frame["seed"].astype(str)
    losses = np.concatenate([reference_WMN, loss_WVN], axis=1).reshape(num_worlds, -1)
    return 100.0 + losses, frame


def judge(frame: pd.DataFrame, rule: DecisionRule) -> tuple[list[str], bool]:
    """Variants that the rule promotes on one rung, and whether the verdict waits."""
    found = effects.effects(frame, METRIC, rule.alpha)
    p_values = [1.0 if item.p is None else item.p for item in found]
    if min(p_values) > rule.alpha:  # correcting makes them larger
        return [], False
    corrected, method = multiplicity.correct(found, p_values)
    steps = axes.steps(found, SUPERIOR, 0.0, rule.alpha, None)
    promoted = [
        item.variant
        for item, p, p_corrected in zip(found, p_values, corrected, strict=True)
        if judging.shown(_case(item, p, p_corrected, method, steps[item.variant], frame), rule)
    ]
    return promoted, False


def _case(
    item: effects.Effect, p: float, p_corrected: float, method: str, steps: axes.Axis, frame: pd.DataFrame
) -> Case:
    losses = frame.loc[frame["variant"] == item.variant, METRIC]
    complete = [f"{item.variant}-{place}" for place in losses.index[losses.notna()]]
    lost = {f"{item.variant}-{place}": FailureClass.lost.value for place in losses.index[losses.isna()]}
    runs = replicates.Replicates(complete, {}, lost, [])
    none = Divergence(0, len(complete), 0, len(complete))
    return Case(item.variant, runs, item, {"steps": steps}, none, p, p_corrected, p_corrected, method, 8, [])
