"""How often one rung's verdicts are wrong, where noise is not what the rule would like it to be.

The worlds and the bars are in ``verdict_worlds.yaml``. Every world is one table of runs. ``judge`` hands it
to the code that judges real ones, ``effects``, ``multiplicity`` and ``judging``; where no run is lost,
``verdict_arrays.py`` does the same for all worlds at once. Axes: W worlds, Q runs (the reference's first,
then each variant's, by seed), V variants, N seeds, M runs of the reference a seed.
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

from sweepkit.analysis import axes, effects, multiplicity, replicates, suspicion
from sweepkit.analysis.stability import Divergence
from sweepkit.promotion import judging
from sweepkit.promotion.case import Case
from sweepkit.promotion.doubts import Doubts
from sweepkit.promotion.simulation import verdict_arrays
from sweepkit.results.columns import REFERENCE
from sweepkit.results.record import FailureClass
from sweepkit.sweep.decision import STEPS_ALONE, SUPERIOR, DecisionRule

FILE = Path(__file__).with_name("verdict_worlds.yaml")
METRIC = "val_bpb"
#: Worlds with lost runs are judged one by one, which takes so much longer.
LOST_FEWER = 8
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
        trusting_promoted, trusting_shown: the first two in the same worlds by the rule that takes noise as
            equal and suspects nobody; where runs are lost, by the rule that does not mind it.
    """

    cell: Cell
    num_worlds: int
    promoted: float
    shown: float | None
    waits: float
    trusting_promoted: float
    trusting_shown: float | None


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
    """Judge so many worlds, or one in ``LOST_FEWER`` where runs are lost; same arguments, same rates."""
    if cell.rung.worst_lost:
        num_worlds = max(1, num_worlds // LOST_FEWER)
    words = f"{cell.rung.name} {cell.design} {cell.num_better}".encode()
    rng = np.random.default_rng([seed, *words])
    loss_WQ, frame = draw(cell, num_worlds, rng)
    rule = DecisionRule(alpha=cell.rung.alpha, min_effect=0.0, axes=STEPS_ALONE)
    if cell.rung.worst_lost:
        tables = [frame.assign(**{METRIC: loss_Q}) for loss_Q in loss_WQ]
        judged = [judge(table, rule) for table in tables]
        promoted_WV = _promoted(cell, [promoted for promoted, _ in judged])
        waits_W = np.asarray([waits for _, waits in judged])
        trusting = [judge(table, rule, minds_losses=False)[0] for table in tables]
        trusting_promoted, trusting_shown = _shares(cell, _promoted(cell, trusting))
    else:
        losses = split(cell, loss_WQ)
        promoted_WV, waits_W = verdict_arrays.judge(*losses, cell.rung.alpha)
        trusting_WV, _ = verdict_arrays.judge(*losses, cell.rung.alpha, is_trusting=True)
        trusting_promoted, trusting_shown = _shares(cell, trusting_WV)
    promoted, shown = _shares(cell, promoted_WV)
    return Rates(cell, num_worlds, promoted, shown, float(waits_W.mean()), trusting_promoted, trusting_shown)


def _promoted(cell: Cell, promoted: Sequence[Sequence[str]]) -> NDArray[np.bool_]:
    """Of each world, which variants are [W, V]."""
    names = [f"v{place}" for place in range(cell.rung.num_variants)]
    return np.asarray([[name in found for name in names] for found in promoted])


def _shares(cell: Cell, promoted_WV: NDArray[np.bool_]) -> tuple[float, float | None]:
    """Of worlds with a false promotion, and of the better variants that are promoted."""
    wrong_W = promoted_WV[:, cell.num_better :].any(axis=1)
    shown = float(promoted_WV[:, : cell.num_better].mean()) if cell.num_better else None
    return float(wrong_W.mean()), shown


def split(cell: Cell, loss_WQ: Array) -> tuple[Array, Array]:
    """Losses of the reference [W, M, N] and of the variants [W, V, N]."""
    own = cell.replicates * cell.seeds
    reference_WMN = loss_WQ[:, :own].reshape(-1, cell.replicates, cell.seeds)
    return reference_WMN, loss_WQ[:, own:].reshape(-1, cell.rung.num_variants, cell.seeds)


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


def judge(frame: pd.DataFrame, rule: DecisionRule, minds_losses: bool = True) -> tuple[list[str], bool]:
    """Variants that the rule promotes on one rung, and whether the verdict waits.

    ``minds_losses``: whether a variant that lost more runs than the reference is held back.
    """
    found = effects.effects(frame, METRIC, rule.alpha)
    p_values = [1.0 if item.p is None else item.p for item in found]
    suspect = suspicion.suspect(frame, METRIC)
    if suspect is not None or min(p_values) > rule.alpha:  # correcting makes them larger
        return [], suspect is not None
    corrected, method = multiplicity.correct(found, p_values)
    steps = axes.steps(found, SUPERIOR, 0.0, rule.alpha, None)
    promoted = [
        item.variant
        for item, p, p_corrected in zip(found, p_values, corrected, strict=True)
        if judging.shown(_case(item, p, p_corrected, method, steps[item.variant], frame, minds_losses), rule)
    ]
    return promoted, False


def _case(
    item: effects.Effect,
    p: float,
    p_corrected: float,
    method: str,
    steps: axes.Axis,
    frame: pd.DataFrame,
    minds_losses: bool,
) -> Case:
    losses = frame.loc[frame["variant"] == item.variant, METRIC]
    complete = [f"{item.variant}-{place}" for place in losses.index[losses.notna()]]
    lost = {f"{item.variant}-{place}": FailureClass.lost.value for place in losses.index[losses.isna()]}
    runs = replicates.Replicates(complete, {}, lost if minds_losses else {}, [])
    none = Divergence(0, len(complete), 0, len(complete))
    losses = frame.loc[frame["variant"] == REFERENCE, METRIC]
    base = replicates.Replicates([f"reference-{place}" for place in losses.index], {}, {}, [])
    doubts = Doubts.of(runs, base, None, [])
    size = frame["variant"].nunique() - 1
    return Case(
        item.variant,
        runs,
        item,
        {"steps": steps},
        none,
        p,
        p_corrected,
        p_corrected,
        method,
        size,
        [],
        doubts,
    )
