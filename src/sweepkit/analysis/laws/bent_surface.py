"""The surface with a weak prior and one bend, for few sizes: its mode, its noise, and draws.

Three sizes say little of the loss that no size removes, and a fit without a prior is free to put the floor
just below the last point. The prior is about shares and exponents, not about any loss: in the middle of the
data each removable term is about a quarter of the floor (within a factor of two, one SD) and falls with an
exponent of about 0.35 (within a factor of 1.5), as published surfaces do in nats and in bits per byte.
Published ladders bend otherwise along tokens a parameter than a sum of power laws does (OLMo's: 0.5 and 10
times Chinchilla both lie above it, at every size), so both terms share a factor exp(bend · log²(D/N)).

Runs of one size may lie off the surface together (their learning rate suits them more or less): a size has an
effect of its own. Draws are made by perturbing data and prior and fitting again, which gives the posterior
where the fit is linear.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sweepkit.analysis.laws import surface as surfaces
from sweepkit.analysis.laws.intervals import Floats
from sweepkit.analysis.laws.surface import Prior

#: Prior: log of a removable term over the floor, log of its exponent, and the bend: mean and SD.
SHARE, EXPONENT, BEND = (math.log(0.27), 0.7), (math.log(0.35), 0.4), (0.0, 0.03)
#: No run is known to better than this share of its loss.
_LEAST_SD = 5e-4
#: How far sizes lie off a surface before any were seen (worth two of them).
SIZE_SD = 3e-3
DRAWS = 200
#: Guesses of the noise that the fit starts from, and residuals that count in full.
_NOISES, _HUBER_SDS = (2e-2, 2e-3), 2.5
_ROUNDS = 8


@dataclass(frozen=True)
class Runs:
    """What is fitted.

    Attributes:
        y_N: log losses.
        size_N: the size that each run belongs to.
        has_tokens: tokens vary; else the law is one of size alone.
    """

    params_N: Floats
    tokens_N: Floats
    y_N: Floats
    size_N: Floats
    has_tokens: bool

    def where(self, kept_N: Floats) -> Runs:
        columns = (item[kept_N] for item in (self.params_N, self.tokens_N, self.y_N, self.size_N))
        params, tokens, y, size = columns
        return Runs(params, tokens, y, size, self.has_tokens)


@dataclass(frozen=True)
class Bent:
    """A fitted surface.

    Attributes:
        theta_P: as ``surface.terms`` takes it, at the middle of its data (``u``, ``v``).
        noise_sd, size_sd: of log loss, of a run and of a size.
    """

    theta_P: Floats
    u: float
    v: float
    noise_sd: float
    size_sd: float

    def log_at(self, params: Floats, tokens: Floats, theta_SP: Floats | None = None) -> Floats:
        """log L, (N,); of draws, (S, N)."""
        own = self.theta_P[None] if theta_SP is None else theta_SP
        found_SN = surfaces.terms(own, np.log(params) - self.u, np.log(tokens) - self.v)[0]
        return found_SN[0] if theta_SP is None else found_SN


def fit(runs: Runs) -> Bent:
    """The mode, with the noise found along; from a guess of much noise and of little, the likelier one."""
    u_N, v_N, u, v = surfaces.design(runs.params_N, runs.tokens_N)
    y_N, ones_1N = runs.y_N, np.ones((1, len(runs.y_N)))
    # the prior holds some of the parameters: half of them count
    spare = max(len(y_N) - (3.0 if runs.has_tokens else 1.5), 1.0)
    found = []
    for guess in _NOISES:
        noise_sd, theta_SP = guess, _first(y_N)
        for _ in range(_ROUNDS):
            delta = _HUBER_SDS * noise_sd
            prior = _prior(noise_sd, runs.has_tokens)
            theta_SP, value_S = surfaces.minimise(theta_SP, u_N, v_N, y_N[None], ones_1N, delta, prior)
            theta_SP = theta_SP[[int(np.argmin(value_S))]]
            residual_N = y_N - surfaces.terms(theta_SP, u_N, v_N)[0][0]
            clipped_N = np.clip(residual_N, -delta, delta)
            last, noise_sd = noise_sd, max(math.sqrt(float(clipped_N @ clipped_N) / spare), _LEAST_SD)
            if abs(noise_sd / last - 1) < 0.02:
                break
        cost = float(value_S.min()) / noise_sd**2 + len(y_N) * math.log(noise_sd)
        found.append((cost, noise_sd, theta_SP[0], residual_N))
    _, noise_sd, theta_P, residual_N = min(found, key=lambda item: item[0])
    sizes = np.unique(runs.size_N)
    shared = sum(float(residual_N[runs.size_N == size].mean()) ** 2 for size in sizes)
    size_sd = math.sqrt((2 * SIZE_SD**2 + shared) / (2 + max(len(sizes) - 2, 0)))
    return Bent(theta_P, u, v, noise_sd, size_sd)


def draws(bent: Bent, runs: Runs, seed: int) -> Floats:
    """Parameters from perturbed data and prior (S, P)."""
    rng = np.random.default_rng(seed)
    u_N, v_N = np.log(runs.params_N) - bent.u, np.log(runs.tokens_N) - bent.v
    sizes, place_N = np.unique(runs.size_N, return_inverse=True)
    y_SN = runs.y_N[None] + bent.noise_sd * rng.standard_normal((DRAWS, len(runs.y_N)))
    y_SN += bent.size_sd * rng.standard_normal((DRAWS, len(sizes)))[:, place_N]
    prior = _prior(bent.noise_sd, runs.has_tokens, rng.standard_normal((5, DRAWS)))
    first_SP = np.repeat(bent.theta_P[None], DRAWS, axis=0)
    ones_1N = np.ones((1, len(runs.y_N)))
    delta = _HUBER_SDS * bent.noise_sd
    return surfaces.minimise(first_SP, u_N, v_N, y_SN, ones_1N, delta, prior, is_rough=True)[0]


def _prior(noise_sd: float, has_tokens: bool, drawn_KS: Floats | None = None) -> Prior:
    """The prior in units of the data's objective, which is not divided by the noise's variance."""
    rows_KP = np.eye(6)[[0, 1, 3, 4, 5]]
    rows_KP[:2, 2] = -1
    mean_K, sd_K = np.array([SHARE, SHARE, EXPONENT, EXPONENT, BEND]).T.copy()
    if not has_tokens:  # the term of tokens is one with the floor
        mean_K[[1, 4]], sd_K[[1, 4]] = (-12.0, 0.0), (0.1, 1e-6)
    mean_KS = mean_K[:, None] + (0.0 if drawn_KS is None else sd_K[:, None] * drawn_KS)
    return Prior(rows_KP, mean_KS, sd_K / noise_sd)


def _first(y_N: Floats) -> Floats:
    """Starts about the prior's mean, (S, P)."""
    e = float(np.median(y_N)) - math.log1p(2 * math.exp(SHARE[0]))
    term, exponent = e + SHARE[0], EXPONENT[0]
    return np.array(
        [
            [term + shift, term + shift, e - shift / 2, exponent + up, exponent + down, 0.0]
            for shift in (-0.7, 0.0, 0.7)
            for up in (-0.4, 0.4)
            for down in (-0.4, 0.4)
        ]
    )
