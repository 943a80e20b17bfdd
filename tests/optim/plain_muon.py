"""Muon's step on one matrix, written out from the specification in fp64."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

COEFFICIENTS = [
    (8.156554524902461, -22.48329292557795, 15.878769915207462),
    (4.042929935166739, -2.808917465908714, 0.5000178451051316),
    (3.8916678022926607, -2.772484153217685, 0.5060648178503393),
    (3.285753657755655, -2.3681294933425376, 0.46449024233003106),
    (2.3465413258596377, -1.7097828382687081, 0.42323551169305323),
]


@dataclass
class PlainMuon:
    """State and rule of one matrix [m, n]."""

    weight: Tensor
    row_equilibration: bool = True
    frobenius_reset: bool = True
    cautious: bool = True
    iterations: int = 5

    def __post_init__(self) -> None:
        self.weight = self.weight.double()
        self.momentum = torch.zeros_like(self.weight)
        self.second = torch.zeros(max(self.weight.shape), dtype=torch.float64)

    def step(self, gradient: Tensor, lr: float, decay: float, momentum: float, beta2: float) -> None:
        m, n = self.weight.shape
        g = gradient.double()
        self.momentum = momentum * self.momentum + (1 - momentum) * g
        x = momentum * self.momentum + (1 - momentum) * g
        if self.row_equilibration:
            norms = torch.stack([row.norm() for row in x])
            root_mean_square = math.sqrt(float((norms**2).mean()))
            x = torch.stack([row * root_mean_square / max(float(row.norm()), 1e-6) for row in x])
        x = x / (1.01 * x.norm() + 1e-6)
        turned = x.T if m > n else x
        for a, b, c in COEFFICIENTS[: self.iterations]:
            gram = turned @ turned.T
            turned = a * turned + (b * gram + c * gram @ gram) @ turned
        x = turned.T if m > n else turned
        if self.frobenius_reset:
            x = x * math.sqrt(min(m, n)) / max(float(x.norm()), 1e-6)
        long_axis = 0 if m >= n else 1
        means = (x**2).mean(dim=1 - long_axis)
        self.second = beta2 * self.second + (1 - beta2) * means
        scale = 1 / self.second.clamp(min=1e-10).sqrt()
        scaled = x * (scale[:, None] if long_axis == 0 else scale[None, :])
        x = scaled * x.norm() / max(float(scaled.norm()), 1e-10)
        lr = lr * math.sqrt(max(1.0, m / n))
        mask = (x * self.weight >= 0).double() if self.cautious else torch.ones_like(x)
        self.weight = self.weight - lr * x - lr * decay * mask * self.weight
