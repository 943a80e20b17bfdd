"""Synthetic worlds: true effects of every variant at every depth, and what a run would measure there.

``worlds.yaml`` was written before the rule was tuned. Arrays carry their axes as suffixes: W worlds, V
variants, R rungs (the last is the target), N seeds. Effects are variant minus reference in bits per byte;
negative is better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sweepkit.config import typed, yaml_words

Array = NDArray[np.float64]
FILE = Path(__file__).with_name("worlds.yaml")


@dataclass(frozen=True)
class World:
    """One kind of world; the fields are explained in ``worlds.yaml``."""

    name: str
    grid: tuple[int, ...]
    effect_mean: float
    effect_sd: float
    null_frac: float
    depth_correlation: float
    scale: tuple[float, ...]
    flip_frac: float
    cliff_frac: float
    cliff_effect: float
    cliff_divergence: float
    grid_frac: float
    noise_sd: tuple[float, ...]
    luck_sd: tuple[float, ...]
    noise_df: float
    divergence: float
    cost: tuple[float, ...]

    @property
    def num_variants(self) -> int:
        return int(np.prod(self.grid))

    @property
    def num_rungs(self) -> int:
        return len(self.cost)


@dataclass(frozen=True)
class Truth:
    """What is true in W worlds of one kind.

    Attributes:
        effect_WVR: bits per byte, variant minus reference.
        divergence_WVR: probability that a run of the variant diverges.
    """

    world: World
    effect_WVR: Array
    divergence_WVR: Array

    @property
    def target_WV(self) -> Array:
        """The true effect on the last rung."""
        return self.effect_WVR[:, :, -1]


def load(path: Path = FILE) -> dict[str, World]:
    """The frozen worlds by name."""
    content = yaml_words.read(path.read_text())
    return {
        name: typed.load(World, {"name": name} | content["common"] | changes)
        for name, changes in content["worlds"].items()
    }


def draw(world: World, num_worlds: int, rng: np.random.Generator) -> Truth:
    """The truth of ``num_worlds`` worlds."""
    shape_WVR = (num_worlds, world.num_variants, world.num_rungs)
    standard_WVR = np.empty(shape_WVR)
    for rung in range(world.num_rungs):  # a chain: neighbouring depths are alike
        fresh_WV = _standard(world, num_worlds, rng)
        if rung:
            rho = world.depth_correlation
            fresh_WV = rho * standard_WVR[:, :, rung - 1] + np.sqrt(1 - rho**2) * fresh_WV
        standard_WVR[:, :, rung] = fresh_WV
    effect_WVR = (world.effect_mean + world.effect_sd * standard_WVR) * np.asarray(world.scale)
    shape_WV = shape_WVR[:2]
    effect_WVR[rng.random(shape_WV) < world.null_frac] = 0.0
    effect_WVR[:, :, -1] *= np.where(rng.random(shape_WV) < world.flip_frac, -1.0, 1.0)
    divergence_WVR = np.full(shape_WVR, world.divergence)
    cliff_WV = rng.random(shape_WV) < world.cliff_frac
    effect_WVR[:, :, -1] = np.where(cliff_WV, world.cliff_effect, effect_WVR[:, :, -1])
    divergence_WVR[:, :, -1] = np.where(cliff_WV, world.cliff_divergence, divergence_WVR[:, :, -1])
    return Truth(world, effect_WVR, divergence_WVR)


def coordinates(world: World) -> NDArray[np.int64]:
    """Each variant's place on the grid of swept values: int64 [V, number of values]."""
    return np.stack(np.unravel_index(np.arange(world.num_variants), world.grid), axis=-1)


def noise(world: World, rung: int, shape: Sequence[int], rng: np.random.Generator) -> Array:
    """A run's own noise, without the luck that all runs of its seed share; bits per byte."""
    if world.noise_df:
        df = world.noise_df
        unit = rng.standard_t(df, size=shape) / np.sqrt(df / (df - 2))
    else:
        unit = rng.standard_normal(shape)
    return np.asarray(world.noise_sd[rung] * unit, dtype=np.float64)


def _standard(world: World, num_worlds: int, rng: np.random.Generator) -> Array:
    """Standard normal effects [W, V]; ``grid_frac`` of their variance is a sum of smooth curves."""
    own_WV = rng.standard_normal((num_worlds, world.num_variants))
    if not world.grid_frac:
        return own_WV
    place = coordinates(world)
    smooth_WV = np.zeros_like(own_WV)
    for axis, length in enumerate(world.grid):
        x = np.linspace(0.0, 1.0, length)
        curves = np.stack(
            [np.cos(np.pi * order * x) for order in (1, 2)]
        )  # smooth, of unit variance together
        smooth_WV += (rng.standard_normal((num_worlds, 2)) @ curves)[:, place[:, axis]]
    smooth_WV /= np.sqrt(len(world.grid))
    own_frac = 1.0 - world.grid_frac
    return np.asarray(np.sqrt(world.grid_frac) * smooth_WV + np.sqrt(own_frac) * own_WV, dtype=np.float64)
