"""The surface with a weak prior, straight and with a bend, for few sizes: modes, noise, and draws.

Three sizes say little of the loss that no size removes, and a fit without a prior is free to put the floor
just below the last point. The prior is about shares and exponents, not about any loss: either removable term
falls with an exponent of about 0.35 (within a factor of 1.5, one SD), and is about a quarter of the floor at
4.2e8 parameters or 8.4e9 tokens, elsewhere by that exponent more or less (within a factor of two), as
published surfaces do in nats and in bits per byte. Some
published ladders bend otherwise along tokens a parameter than a sum of power laws does (OLMo's: 0.5 and 10
times Chinchilla both lie above it, at every size), others do not. So both are fitted, the second with a
factor exp(bend · log²(D/N)) on both terms, and weighed by how likely they make the runs (BIC).

Runs of one model may lie off the surface together (their shape or learning rate suits them more or less): a
number of parameters has an effect of its own. Draws are made by perturbing data and prior and fitting again,
which gives the posterior where the fit is linear.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

import numpy as np

from sweepkit.analysis.laws import surface as surfaces
from sweepkit.analysis.laws.intervals import Floats
from sweepkit.analysis.laws.surface import Fitting, Prior

#: Prior: log of a removable term over the floor, log of its exponent, and the bend: mean and SD.
SHARE, EXPONENT, BEND = (math.log(0.27), 0.7), (math.log(0.35), 0.4), (0.0, 0.03)
#: Where terms have that share: 20 tokens a parameter. It falls with either as the term itself does.
SHARE_AT_PARAMS, SHARE_AT_TOKENS = 4.2e8, 8.4e9
#: What is less counts depths, widths or millions, of which no share is known.
_LEAST_COUNT = 1e4
#: No run is known to better than this share of its loss.
_LEAST_SD = 5e-4
#: How far sizes lie off a surface before any were seen, and so many sizes that this is worth.
SIZE_SD, _SIZES_KNOWN = 3e-3, 4
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
        offset_K: of every size from the surface, in log loss.
        noise_sd, size_sd: of log loss, of a run and of a size.
    """

    theta_P: Floats
    offset_K: Floats
    u: float
    v: float
    noise_sd: float
    size_sd: float

    def log_at(self, params: Floats, tokens: Floats, theta_SP: Floats | None = None) -> Floats:
        """log L, (N,); of draws, (S, N)."""
        own = self.theta_P[None] if theta_SP is None else theta_SP
        found_SN = surfaces.terms(own, np.log(params) - self.u, np.log(tokens) - self.v)[0]
        return found_SN[0] if theta_SP is None else found_SN


def fits(runs: Runs) -> list[tuple[float, Bent]]:
    """The straight surface and the bent with their weights; the first alone where tokens do not vary."""
    found = [fit(runs, is_bent) for is_bent in ((False, True) if runs.has_tokens else (False,))]
    costs = _costs(runs, found)
    weights = [math.exp(min(costs) - cost) for cost in costs]
    return [(weight / sum(weights), item) for weight, item in zip(weights, found, strict=True)]


def _costs(runs: Runs, found: list[Bent]) -> list[float]:
    """Minus the log likelihood of each, with the prior's share and BIC's for a bend, all at one noise.

    The geometric mean of theirs: at a noise of its own the better surface pays more for a run that fits none.
    """
    u_N, v_N, _, _ = surfaces.design(runs.params_N, runs.tokens_N)
    noise_sd = statistics.geometric_mean(item.noise_sd for item in found)
    size_sd = max(item.size_sd for item in found)
    of_size_NK, ones_1N = _of_size(runs), np.ones((1, len(runs.y_N)))
    costs = []
    for item in found:
        is_bent = len(item.theta_P) > 5
        prior = _prior(runs, noise_sd, size_sd, is_bent)
        delta = _HUBER_SDS * noise_sd
        data = Fitting(u_N, v_N, runs.y_N[None], ones_1N, delta, prior, of_size_NK)
        theta_P = np.concatenate([item.theta_P, item.offset_K])
        objective = float(data.objective(theta_P[None])[0]) / noise_sd**2
        costs.append(objective + 0.5 * is_bent * math.log(len(runs.y_N)))
    return costs


def fit(runs: Runs, is_bent: bool) -> Bent:
    """The mode, with the noise found along; from a guess of much noise and of little, the likelier one."""
    u_N, v_N, u, v = surfaces.design(runs.params_N, runs.tokens_N)
    y_N, ones_1N, num_shape = runs.y_N, np.ones((1, len(runs.y_N))), 5 + is_bent
    of_size_NK = _of_size(runs)
    # the prior holds some of the parameters: half of them count
    spare = max(len(y_N) - (2.5 + 0.5 * is_bent if runs.has_tokens else 1.5), 1.0)
    found = []
    for guess in _NOISES:
        noise_sd, size_sd = guess, SIZE_SD
        theta_SP = np.pad(_first(y_N)[:, :num_shape], ((0, 0), (0, of_size_NK.shape[1])))
        for _ in range(_ROUNDS):
            delta = _HUBER_SDS * noise_sd
            prior = _prior(runs, noise_sd, size_sd, is_bent)
            data = Fitting(u_N, v_N, y_N[None], ones_1N, delta, prior, of_size_NK)
            theta_SP, value_S = surfaces.minimise(theta_SP, data)
            theta_SP = theta_SP[[int(np.argmin(value_S))]]
            shape_P, offset_K = theta_SP[0, :num_shape], theta_SP[0, num_shape:]
            residual_N = y_N - surfaces.terms(shape_P[None], u_N, v_N)[0][0] - of_size_NK @ offset_K
            clipped_N = np.clip(residual_N, -delta, delta)
            size_sd = _size_sd(offset_K)
            last, noise_sd = noise_sd, max(math.sqrt(float(clipped_N @ clipped_N) / spare), _LEAST_SD)
            if abs(noise_sd / last - 1) < 0.02:
                break
        theta_P = theta_SP[0]
        found.append(Bent(theta_P[:num_shape], theta_P[num_shape:], u, v, noise_sd, size_sd))
    costs = _costs(runs, found)
    return found[costs.index(min(costs))]


def _size_sd(offset_K: Floats) -> float:
    """The spread of sizes about the surface: what was known before, or more where their offsets show it."""
    total = _SIZES_KNOWN * SIZE_SD**2 + float(offset_K @ offset_K)
    return max(SIZE_SD, math.sqrt(total / (_SIZES_KNOWN + len(offset_K))))


def draws(bent: Bent, runs: Runs, seed: int) -> Floats:
    """Parameters from perturbed data and prior (S, P)."""
    rng = np.random.default_rng(seed)
    u_N, v_N = np.log(runs.params_N) - bent.u, np.log(runs.tokens_N) - bent.v
    of_size_NK, num_shape = _of_size(runs), len(bent.theta_P)
    y_SN = runs.y_N[None] + bent.noise_sd * rng.standard_normal((DRAWS, len(runs.y_N)))
    drawn_KS = rng.standard_normal((num_shape - 1 + of_size_NK.shape[1], DRAWS))
    prior = _prior(runs, bent.noise_sd, bent.size_sd, num_shape > 5, drawn_KS)
    first_SP = np.repeat(np.concatenate([bent.theta_P, bent.offset_K])[None], DRAWS, axis=0)
    ones_1N, delta = np.ones((1, len(runs.y_N))), _HUBER_SDS * bent.noise_sd
    data = Fitting(u_N, v_N, y_SN, ones_1N, delta, prior, of_size_NK)
    found_SP, _ = surfaces.minimise(first_SP, data, is_rough=True)
    return found_SP[:, :num_shape]


def _of_size(runs: Runs) -> Floats:
    """1 where a run is of a model, (N, K): shapes of nearly one size differ in their parameters."""
    found: Floats = (runs.params_N[:, None] == np.unique(runs.params_N)[None]).astype(float)
    return found


def _prior(
    runs: Runs, noise_sd: float, size_sd: float, is_bent: bool, drawn_KS: Floats | None = None
) -> Prior:
    """The prior in units of the data's objective, which is not divided by the noise's variance."""
    num_sizes = len(np.unique(runs.params_N))
    rows_KP = np.eye(5 + is_bent + num_sizes)
    rows_KP[:2, 2] = -1
    rows_KP = np.delete(rows_KP, 2, axis=0)
    places = (runs.params_N, SHARE_AT_PARAMS), (runs.tokens_N, SHARE_AT_TOKENS)
    shape = [*((_share(*place), SHARE[1]) for place in places), EXPONENT, EXPONENT, BEND][: 4 + is_bent]
    mean_K, sd_K = np.array([*shape, *[(0.0, size_sd)] * num_sizes]).T.copy()
    if not runs.has_tokens:  # the term of tokens is one with the floor
        mean_K[1], sd_K[1] = -12.0, 0.1
    mean_KS = mean_K[:, None] + (0.0 if drawn_KS is None else sd_K[:, None] * drawn_KS)
    return Prior(rows_KP, mean_KS, sd_K / noise_sd)


def _share(scale_N: Floats, usual: float) -> float:
    """Prior mean of the log of a removable term over the floor, in the middle of the data."""
    middle = float(np.mean(np.log(scale_N)))
    if middle < math.log(_LEAST_COUNT):
        return SHARE[0]
    return SHARE[0] - math.exp(EXPONENT[0]) * (middle - math.log(usual))


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
