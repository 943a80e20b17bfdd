"""The loss as a surface of size and tokens: L = E + A/N^α + B/D^β (approach 3 of Hoffmann et al., 2022).

Fitted as there: the Huber loss (δ = 1e-3) of log L minus log-sum-exp of the three terms, from many starts.
Every start, and every replicate of a bootstrap, is a row of one array, and all of them take damped
Gauss-Newton steps together, each with its own damping, so that a bootstrap costs seconds. Terms are measured
at the middle of the data (geometric means of N and D), where they are least entangled, and as logarithms, so
that none turns negative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sweepkit import errors
from sweepkit.analysis.laws.intervals import Floats

HUBER_DELTA = 1e-3
_STEPS, _POLISHED, _CHUNK = 400, 5, 500_000
_LIMITS = np.array([[-40.0, -40.0, -40.0, -6.0, -6.0, -1.0], [20.0, 20.0, 20.0, 1.5, 1.5, 1.0]])
#: First guesses: the exponents, and how much of log L in the middle is irreducible.
_EXPONENTS, _SHARES = (0.1, 0.25, 0.45, 0.8, 1.5), (0.02, 0.4, 0.75, 0.95)


@dataclass(frozen=True)
class Surface:
    """L = E + A/N^α + B/D^β.

    Attributes:
        objective: sum of the Huber losses of log L.
        log_residual_N: log L − the surface's.
    """

    e: float
    a: float
    b: float
    alpha: float
    beta: float
    objective: float
    log_residual_N: Floats

    def at(self, params: Floats, tokens: Floats) -> Floats:
        return self.e + self.a * params**-self.alpha + self.b * tokens**-self.beta

    @property
    def params_exponent(self) -> float:
        """a in N ∝ C^a for the best size at a budget C ∝ N·D; tokens go with 1 − a."""
        return self.beta / (self.alpha + self.beta)

    def best_params(self, flops: Floats, flops_per_param_token: float = 6.0) -> Floats:
        """The size with the lowest loss at a budget C = k·N·D."""
        log_budget = np.log(np.asarray(flops, dtype=float) / flops_per_param_token)
        with np.errstate(all="ignore"):  # a resampled surface may be all but flat: no size is its best
            log_g = np.log(self.alpha / self.beta) + np.log(self.a) - np.log(self.b)
            best: Floats = np.exp(log_g / (self.alpha + self.beta) + self.params_exponent * log_budget)
        return best


@dataclass(frozen=True)
class Prior:
    """What is known of a surface before: normal in rows of ``rows_KP`` @ (a, b, e, log α, log β, bend).

    a, b, e are logarithms of the terms at the middle of the data.
    """

    rows_KP: Floats
    mean_KS: Floats
    sd_K: Floats

    def at(self, rows: Any) -> Prior:
        """That of some replicates; one mean is everybody's."""
        mean_KS = self.mean_KS if self.mean_KS.shape[1] == 1 else self.mean_KS[:, rows]
        return Prior(self.rows_KP, mean_KS, self.sd_K)


@dataclass(frozen=True)
class Fitting:
    """What rows of parameters are fitted to; each may have losses, weights and a prior's mean of its own.

    Attributes:
        u_N, v_N: log N and log D from their middles.
        y_SN: log losses, (1, N) or (S, N).
        weight_SN: of each run, (1, N) or (S, N); a bootstrap's counts.
        delta: of the Huber loss.
        offset_NK: what the last K columns of theta are added by: 1 where a run belongs to a size, say.
    """

    u_N: Floats
    v_N: Floats
    y_SN: Floats
    weight_SN: Floats
    delta: float = HUBER_DELTA
    prior: Prior | None = None
    offset_NK: Floats | None = None

    @property
    def num_offsets(self) -> int:
        return 0 if self.offset_NK is None else self.offset_NK.shape[1]

    def at(self, rows: Any) -> Fitting:
        """Of some rows; what is one for all stays so."""
        y_SN, weight_SN = (item if len(item) == 1 else item[rows] for item in (self.y_SN, self.weight_SN))
        prior = None if self.prior is None else self.prior.at(rows)
        return replace(self, y_SN=y_SN, weight_SN=weight_SN, prior=prior)

    def logs(self, theta_SP: Floats) -> tuple[Floats, Floats]:
        """``terms``, the last columns of theta added to log L."""
        if self.offset_NK is None:
            return terms(theta_SP, self.u_N, self.v_N)
        split = theta_SP.shape[1] - self.num_offsets
        log_SN, share_SN3 = terms(theta_SP[:, :split], self.u_N, self.v_N)
        return log_SN + theta_SP[:, split:] @ self.offset_NK.T, share_SN3

    def pulls(self, theta_SP: Floats, prior: Prior) -> Floats:
        """How far from the prior's mean, in its standard deviations (S, K)."""
        found: Floats = (theta_SP @ prior.rows_KP.T - prior.mean_KS.T) / prior.sd_K
        return found

    def objective(self, theta_SP: Floats) -> Floats:
        """The Huber losses' weighted sum, and the prior's half squares, (S,)."""
        off_SN = np.abs(self.y_SN - self.logs(theta_SP)[0])
        huber_SN = np.where(off_SN <= self.delta, 0.5 * off_SN**2, self.delta * (off_SN - 0.5 * self.delta))
        total_S: Floats = (self.weight_SN * huber_SN).sum(axis=1)
        if self.prior is not None:
            total_S = total_S + 0.5 * (self.pulls(theta_SP, self.prior) ** 2).sum(axis=1)
        return total_S

    def slopes(self, theta_SP: Floats) -> tuple[Floats, Floats]:
        """Gradient, and Gauss-Newton's Hessian with Huber's weights, which bounds the true one from above."""
        log_SN, share_SN3 = self.logs(theta_SP)
        off_SN = self.y_SN - log_SN
        w_SN = self.weight_SN * np.minimum(1.0, self.delta / np.maximum(np.abs(off_SN), 1e-300))
        columns = [
            share_SN3,
            -share_SN3[:, :, :1] * np.exp(theta_SP[:, 3])[:, None, None] * self.u_N[:, None],
            -share_SN3[:, :, 1:2] * np.exp(theta_SP[:, 4])[:, None, None] * self.v_N[:, None],
            (share_SN3[:, :, :1] + share_SN3[:, :, 1:2]) * ((self.v_N - self.u_N) ** 2)[:, None],
        ]
        num_shape = theta_SP.shape[1] - self.num_offsets
        jacobian_SNP = np.concatenate(columns, axis=2)[:, :, :num_shape]
        if self.offset_NK is not None:
            whole = np.broadcast_to(self.offset_NK, (len(theta_SP), *self.offset_NK.shape))
            jacobian_SNP = np.concatenate([jacobian_SNP, whole], axis=2)
        weighted_SNP = jacobian_SNP * w_SN[:, :, None]
        gradient_SP = -(np.swapaxes(weighted_SNP, 1, 2) @ off_SN[:, :, None])[:, :, 0]
        hessian_SPP = np.swapaxes(weighted_SNP, 1, 2) @ jacobian_SNP
        if self.prior is not None:
            scaled_KP = self.prior.rows_KP / self.prior.sd_K[:, None]
            gradient_SP = gradient_SP + self.pulls(theta_SP, self.prior) @ scaled_KP
            hessian_SPP = hessian_SPP + scaled_KP.T @ scaled_KP
        return gradient_SP, hessian_SPP


def design(params_N: Floats, tokens_N: Floats) -> tuple[Floats, Floats, float, float]:
    """log N and log D from their middles, and the middles."""
    u_N, v_N = np.log(np.asarray(params_N, dtype=float)), np.log(np.asarray(tokens_N, dtype=float))
    return u_N - u_N.mean(), v_N - v_N.mean(), float(u_N.mean()), float(v_N.mean())


def terms(theta_SP: Floats, u_N: Floats, v_N: Floats) -> tuple[Floats, Floats]:
    """log L of every row of parameters (S, N), and the three terms' shares of L (S, N, 3).

    A sixth parameter bends both removable terms along tokens a parameter: they are multiplied with
    exp(bend · (log D/N, from its middle)²).
    """
    a, b, e, log_alpha, log_beta = (theta_SP[:, [place]] for place in range(5))
    bent = theta_SP[:, [5]] * (v_N - u_N) ** 2 if theta_SP.shape[1] > 5 else 0.0
    # term by term: numpy reduces over a last axis of three at a tenth of this speed
    a_SN, b_SN = a - np.exp(log_alpha) * u_N + bent, b - np.exp(log_beta) * v_N + bent
    top_SN = np.maximum(np.maximum(a_SN, b_SN), e)
    parts = [np.exp(item - top_SN) for item in (a_SN, b_SN, e)]
    total_SN = parts[0] + parts[1] + parts[2]
    share_SN3 = np.empty((*total_SN.shape, 3))
    for place, part_SN in enumerate(parts):
        np.divide(part_SN, total_SN, out=share_SN3[:, :, place])
    return top_SN + np.log(total_SN), share_SN3


def minimise(theta_SP: Floats, data: Fitting, is_rough: bool = False) -> tuple[Floats, Floats]:
    """Parameters and objective of every row, each from its own start.

    Args:
        theta_SP: starts: a, b, e (logarithms of the terms at the middle), log α, log β; a sixth column is
            the bend; then what ``offset_NK`` is multiplied with.
        is_rough: stop where another step gains less than 1e-5 of the objective; else 1e-9.
    """
    shape = _LIMITS[:, : theta_SP.shape[1] - data.num_offsets]
    limits = np.hstack([shape, np.outer([-1.0, 1.0], np.ones(data.num_offsets))])
    least, patience = (1e-5, 4) if is_rough else (1e-9, 12)
    rows = max(1, _CHUNK // max(1, len(data.u_N) * 5))
    if len(theta_SP) > rows:
        chunks = [slice(start, start + rows) for start in range(0, len(theta_SP), rows)]
        parts = [minimise(theta_SP[here], data.at(here), is_rough) for here in chunks]
        return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
    theta_SP = np.clip(theta_SP, *limits)
    damping_S, live_S = np.full(len(theta_SP), 1e-2), np.ones(len(theta_SP), dtype=bool)
    value_S = data.objective(theta_SP)
    quiet_S = np.zeros(len(theta_SP), dtype=int)
    for _ in range(_STEPS):
        at = np.flatnonzero(live_S)
        if len(at) == 0:
            break
        here = data.at(at)
        gradient_SP, hessian_SPP = here.slopes(theta_SP[at])
        diagonal_SP = np.einsum("spp->sp", hessian_SPP)
        damped = hessian_SPP + (damping_S[at, None] * (diagonal_SP + 1e-12))[:, :, None] * np.eye(
            theta_SP.shape[1]
        )
        step_SP = np.linalg.solve(damped, -gradient_SP[:, :, None])[:, :, 0]
        step_SP *= np.minimum(1.0, 2.0 / np.maximum(np.abs(step_SP).max(axis=1), 1e-300))[:, None]
        tried_SP = np.clip(theta_SP[at] + step_SP, *limits)
        tried_S = here.objective(tried_SP)
        better = tried_S < value_S[at]
        gain = np.where(better, value_S[at] - tried_S, 0.0) / np.maximum(value_S[at], 1e-300)
        quiet_S[at] = np.where(better & (gain > least), 0, quiet_S[at] + 1)
        theta_SP[at[better]], value_S[at[better]] = tried_SP[better], tried_S[better]
        damping_S[at] = np.clip(np.where(better, damping_S[at] / 4, damping_S[at] * 5), 1e-9, 1e9)
        live_S[at] = quiet_S[at] < patience
    return theta_SP, value_S


def starts(y_N: Floats) -> Floats:
    """A grid of first guesses (S, 5)."""
    low, middle = float(np.exp(y_N.min())), float(np.exp(np.median(y_N)))
    found = []
    for alpha in _EXPONENTS:
        for beta in _EXPONENTS:
            for share in _SHARES:
                e = share * low
                rest = math.log(max(middle - e, 1e-6) / 2)
                found.append([rest, rest, math.log(e), math.log(alpha), math.log(beta)])
    return np.array(found)


def fit(
    params_N: Floats,
    tokens_N: Floats,
    loss_N: Floats,
    delta: float = HUBER_DELTA,
    weight_N: Floats | None = None,
) -> Surface:
    """The surface with the smallest objective of all starts."""
    u_N, v_N, u, v = design(params_N, tokens_N)
    y_N, middle = logs_of(loss_N)
    weight_N = np.ones(len(y_N)) if weight_N is None else weight_N
    data = Fitting(u_N, v_N, y_N[None], weight_N[None], delta)
    theta_SP, value_S = minimise(starts(y_N), data, is_rough=True)
    theta_SP, value_S = minimise(theta_SP[np.argsort(value_S)[:_POLISHED]], data)
    best = int(np.argmin(value_S))
    residual_N = y_N - terms(theta_SP[[best]], u_N, v_N)[0][0]
    return as_surface(theta_SP[best], (u, v, middle), float(value_S[best]), residual_N)


def logs_of(loss_N: Floats) -> tuple[Floats, float]:
    """log L from its middle, and the middle: starts and limits are where the losses are, in any unit."""
    y_N = np.log(np.asarray(loss_N, dtype=float))
    middle = float(np.median(y_N))
    return y_N - middle, middle


def as_surface(
    theta_P: Floats, middles: tuple[float, float, float], objective: float, residual_N: Floats
) -> Surface:
    """In its own constants, from terms at the middle of the data (mean log N and log D, and log L's middle).

    Raises:
        ConfigError: A or B are beyond float64's range.
    """
    u, v, y = middles
    alpha, beta = math.exp(theta_P[3]), math.exp(theta_P[4])
    try:
        a, b = math.exp(theta_P[0] + y + alpha * u), math.exp(theta_P[1] + y + beta * v)
    except OverflowError:
        contract, remedy = "leave A/N^α and B/D^β room in float64", "state losses in another unit"
        raise errors.invalid("--loss", f"about {math.exp(y):.3g}", contract, remedy) from None
    return Surface(math.exp(theta_P[2] + y), a, b, alpha, beta, objective, residual_N)


def as_theta(surface: Surface, middles: tuple[float, float, float]) -> Floats:
    """The inverse of ``as_surface``, (5,)."""
    u, v, y = middles
    a, b = math.log(surface.a) - surface.alpha * u - y, math.log(surface.b) - surface.beta * v - y
    e = math.log(surface.e) - y if surface.e > 0 else -math.inf  # the limits of a fit take it back
    return np.array([a, b, e, math.log(surface.alpha), math.log(surface.beta)])


def refits(
    surface: Surface,
    params_N: Floats,
    tokens_N: Floats,
    loss_N: Floats,
    weight_SN: Floats,
    delta: float = HUBER_DELTA,
) -> list[Surface]:
    """The surface of every row of weights, from the one of all runs: bootstrap counts, or runs left out."""
    u_N, v_N, u, v = design(params_N, tokens_N)
    y_N, middle = logs_of(loss_N)
    first_SP = np.repeat(as_theta(surface, (u, v, middle))[None], len(weight_SN), axis=0)
    data = Fitting(u_N, v_N, y_N[None], weight_SN, delta)
    theta_SP, value_S = minimise(first_SP, data, is_rough=True)
    return [
        as_surface(theta, (u, v, middle), float(value), np.empty(0))
        for theta, value in zip(theta_SP, value_S, strict=True)
    ]
