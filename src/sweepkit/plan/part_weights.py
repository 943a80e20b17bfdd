"""What a part of the model says of itself before anything is built: weights, products, activations.

Without torch. Sizes, FLOPs, FP8's share and memory are sums over weights; modules, initial values and
optimizer groups find theirs by the names that parameters have in the model.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import groupby
from typing import Literal, NamedTuple

#: Training costs 2 FLOPs a parameter forward and 4 backward.
FLOPS_PER_PARAM = 6


class Normal(NamedTuple):
    """Drawn from a normal distribution around 0."""

    std: float


class Uniform(NamedTuple):
    """Drawn evenly between two bounds."""

    low: float
    high: float


class Line(NamedTuple):
    """Evenly from ``first`` to ``last`` along the only axis; ``first`` where it has one element."""

    first: float
    last: float


class Constant(NamedTuple):
    """One value everywhere."""

    value: float


Init = Normal | Uniform | Line | Constant
ZERO = Constant(0.0)


class Weight(NamedTuple):
    """One parameter, or one in each of several layers.

    Attributes:
        name: the parameter's in the model; ``*`` stands for the layer.
        shape: [rows, columns] of what is multiplied or looked up; stacks of experts have an axis before
            these, λs have fewer.
        role: its group of the optimizer (``roles.py``).
        use: how tokens use it: a matrix product, a lookup of one row, or a factor of activations. Tables of
            lookups are kept in the compute dtype, all else in fp32.
        layers: that have one; None: the model has one.
        padding: rows that no token uses.
        share: of the tokens that pass it.
        exact: never multiplied in FP8.
    """

    name: str
    shape: tuple[int, ...]
    role: str
    init: Init
    use: Literal["product", "lookup", "factor"] = "product"
    layers: tuple[int, ...] | None = None
    padding: int = 0
    share: Fraction | int = 1
    exact: bool = False

    @property
    def num_alike(self) -> int:
        """How many there are."""
        return 1 if self.layers is None else len(self.layers)

    @property
    def num_params(self) -> int:
        """Elements of all of them."""
        return math.prod(self.shape) * self.num_alike

    @property
    def num_active(self) -> int:
        """Elements that a token passes."""
        return int(self.num_params * self.share)

    @property
    def flops_per_token(self) -> int:
        """Training FLOPs; lookups and factors count 0."""
        return FLOPS_PER_PARAM * self.num_active if self.use == "product" else 0


class Part(NamedTuple):
    """One part of the architecture.

    Attributes:
        channels: numbers a token that are kept for the backward pass, over all layers, in the compute dtype.
        product_flops: training FLOPs a token of products without weights.
    """

    weights: tuple[Weight, ...]
    channels: int = 0
    product_flops: int = 0


def by_parameter(parts: Iterable[Part]) -> dict[str, Weight]:
    """The full name of every parameter → its weight: parts in order, blocks layer by layer."""
    found: dict[str, Weight] = {}
    weights = [weight for part in parts for weight in part.weights]
    for _, members in groupby(weights, lambda weight: weight.name.partition(".")[0]):
        together = list(members)
        for layer in sorted({layer for weight in together for layer in weight.layers or (0,)}):
            for weight in together:
                if layer in (weight.layers or (0,)):
                    found[weight.name.replace("*", str(layer))] = weight
    return found


def within(weights: Mapping[str, Weight], prefix: str) -> dict[str, Weight]:
    """The parameters whose names begin with ``prefix``, by the rest of their names."""
    return {name[len(prefix) :]: weight for name, weight in weights.items() if name.startswith(prefix)}
