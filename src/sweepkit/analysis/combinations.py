"""What combined changes do together: main effects and pairwise interactions from factorial sweeps.

Every variant is a choice of levels. In treatment coding, a main effect is what a level does beside the
reference's other levels, and an interaction is what two levels do together beyond the sum of both
(``AB − A − B + reference``). With all pairs in the sweep that is exactly what is computed; in a full
product of three axes or more the coefficients are least squares over all variants, each counted once.
Either way a coefficient is a weighted sum of variants, so its error is that of the same sum in the two-way
model of ``noise.py``.

Two levels conflict when together they are shown to give less than the sum of what each gives alone, where
both help: two routes that each give −0.002 and together −0.002 are one route.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from sweepkit.analysis import noise
from sweepkit.analysis.effects import block_names
from sweepkit.analysis.frontier import without_horizons
from sweepkit.analysis.multiplicity import holm
from sweepkit.results.columns import LEVEL, REFERENCE

_ESTIMABLE = 1e-8
Setting = tuple[str, str]  # axis, level


@dataclass(frozen=True)
class Term:
    """A main effect (one setting) or an interaction (two), in the metric's unit; negative is better.

    Attributes:
        settings: axis and level of each.
        effect, low, high: the coefficient with its interval at ``confidence``; no interval without noise.
        p: two-sided, of "no effect".
        together, alone: of an interaction: the two combined against the reference, and each by itself.
        p_holm: of an interaction: one-sided, of "together no less than the sum", Holm over all of them.
        is_conflict: both help alone and together are shown to give less than the sum.
        sentence: all of this in words.
    """

    settings: tuple[Setting, ...]
    effect: float
    low: float | None
    high: float | None
    confidence: float
    p: float | None
    together: float | None = None
    alone: tuple[float, float] | None = None
    p_holm: float | None = None
    is_conflict: bool = False
    sentence: str = ""

    @property
    def name(self) -> str:
        return " × ".join(f"{axis}={level}" for axis, level in self.settings)


def terms(
    rows: pd.DataFrame, metric: str, alpha: float, reference: str = REFERENCE, sign: int = 1
) -> list[Term]:
    """Main effects, then interactions, of the complete runs of one rung.

    Args:
        rows: variant, seed, pair_key, ``metric`` and one column ``level_<axis>`` an axis; a missing level is
            the reference's.
        alpha: intervals have confidence ``1 - 2 alpha``, conflicts are shown at one-sided ``alpha``.
        sign: 1 where lower is better, -1 where higher is.

    Returns:
        Nothing where no variant combines two axes, or where the reference is missing.
    """
    rows = rows[rows[metric].notna()]
    rows = without_horizons(rows, reference)
    settings = _settings(rows, reference)
    if reference not in settings or all(len(chosen) < 2 for chosen in settings.values()):
        return []
    labels = [str(name) for name in rows["variant"]]
    values = [float(value) for value in rows[metric]]
    fit = noise.fit_two_way(labels, block_names(rows), values)
    names = [name for name in settings if name in fit.parts]
    columns = _columns(settings, names)
    design = np.asarray([[float(set(term) <= settings[name]) for term in columns] for name in names])
    weights = np.linalg.pinv(design)
    resolved = weights @ design  # the identity where every coefficient is determined
    found: dict[tuple[Setting, ...], Term] = {}
    for place, term in enumerate(columns):
        own = np.zeros(len(columns))
        own[place] = 1.0
        if term and np.max(np.abs(resolved[place] - own)) < _ESTIMABLE:
            made = _term(term, dict(zip(names, weights[place], strict=True)), fit, alpha)
            if made is not None:
                found[term] = made
    main = [term for settings_, term in found.items() if len(settings_) == 1]
    return main + _interactions(found, alpha, metric, sign)


def _settings(rows: pd.DataFrame, reference: str) -> dict[str, frozenset[Setting]]:
    """Variant → the axes and levels in which it differs from the reference."""
    axes = [str(name).removeprefix(LEVEL) for name in rows.columns if str(name).startswith(LEVEL)]
    firsts = rows.drop_duplicates("variant").set_index("variant")
    base = {axis: firsts[LEVEL + axis].get(reference) for axis in axes}
    chosen = {}
    for name in firsts.index:
        levels = {axis: firsts[LEVEL + axis][name] for axis in axes}
        chosen[str(name)] = frozenset(
            (axis, _named(level))
            for axis, level in levels.items()
            if not pd.isna(level) and (pd.isna(base[axis]) or str(level) != str(base[axis]))
        ) | {(axis, "null") for axis in axes if f"{axis}=null" in str(name).split(",")}
    return chosen


def _named(level: object) -> str:
    return str(level).lower() if isinstance(level, bool | np.bool_) else str(level)


def _columns(settings: Mapping[str, frozenset[Setting]], names: list[str]) -> list[tuple[Setting, ...]]:
    """The intercept, every setting, and every pair of settings that occurs."""
    single = sorted({item for name in names for item in settings[name]})
    pairs = sorted({pair for name in names for pair in itertools.combinations(sorted(settings[name]), 2)})
    return [(), *((item,) for item in single), *pairs]


def _term(
    settings: tuple[Setting, ...], weights: dict[str, float], fit: noise.TwoWay, alpha: float
) -> Term | None:
    found = fit.combination({name: weight for name, weight in weights.items() if abs(weight) > 1e-12})
    if found is None:
        return None
    estimate, leverage = found
    confidence = 1.0 - 2.0 * alpha
    if fit.sd is None:
        return Term(settings, estimate, None, None, confidence, None)
    error = fit.sd * math.sqrt(leverage)
    half = float(special.stdtrit(fit.df, 1.0 - alpha)) * error
    p = 2.0 * float(special.stdtr(fit.df, -abs(estimate) / error))
    return Term(settings, estimate, estimate - half, estimate + half, confidence, p)


def _interactions(
    found: Mapping[tuple[Setting, ...], Term], alpha: float, metric: str, sign: int
) -> list[Term]:
    """The interactions with what both settings give alone and together, corrected over all of them."""
    pairs = [term for term in found.values() if len(term.settings) == 2]
    corrected = holm([_p_less(term, sign) for term in pairs])
    made = []
    for term, p_holm in zip(pairs, corrected, strict=True):
        one, other = (found.get((item,)) for item in term.settings)
        if one is None or other is None:
            continue
        together = one.effect + other.effect + term.effect
        gains = sign * one.effect < 0 and sign * other.effect < 0
        conflict = gains and sign * term.effect > 0 and p_holm <= alpha
        best = sign * min(sign * one.effect, sign * other.effect)
        is_less = sign * together > sign * best
        made.append(
            Term(
                term.settings, term.effect, term.low, term.high, term.confidence, term.p, together,
                (one.effect, other.effect), p_holm, conflict,
                _sentence(term, one.effect, other.effect, together, p_holm, conflict, is_less, metric),
            )
        )  # fmt: skip
    return made


def _p_less(term: Term, sign: int) -> float:
    """One-sided, of "together they give no less than the sum"; 1 without noise."""
    if term.p is None:
        return 1.0
    return term.p / 2.0 if sign * term.effect > 0.0 else 1.0 - term.p / 2.0


def _sentence(
    term: Term,
    one: float,
    other: float,
    together: float,
    p_holm: float,
    conflict: bool,
    is_less: bool,
    metric: str,
) -> str:
    (first, second) = (f"{axis}={level}" for axis, level in term.settings)
    said = (
        f"{first} gives {_signed(one)}, {second} {_signed(other)}, both together {_signed(together)} instead "
        f"of {_signed(one + other)} {metric}"
    )
    if conflict:
        end = "less than the better one alone" if is_less else "less than the sum"
        return f"conflict: {said} (p(Holm) = {p_holm:.2g}), {end}"
    return f"{said} (no conflict shown, p(Holm) = {p_holm:.2g})"


def _signed(value: float) -> str:
    return f"{value:+.5f}".replace("-", "−")
