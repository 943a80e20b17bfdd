"""A forecast is of the tokens that are asked for, whatever tokens the runs of the table saw."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweepkit import errors
from sweepkit.analysis import fit
from sweepkit.analysis.laws import bent_surface

SIZES = np.array([5e7, 1e8, 2e8, 4e8])
D = 4e9
#: Tokens of three sizes, and of a fourth that is held out.
TABLES = {
    "equal": [D] * 3,
    "varying": [D, 3 * D, 9 * D],
    "only where held out": [D, D, D, 10 * D],
}
ASKED: dict[str, float | None] = {"equal": D, "other": 10 * D, "fewer": D / 4, "absent": None}
LAWS = [(1.82, 482.0, 2085.4, 0.348, 0.366), (1.69, 406.4, 410.7, 0.34, 0.28)]


def truth(law: tuple[float, ...], params: Any, tokens: Any) -> Any:
    e, a, b, alpha, beta = law
    return e + a / params**alpha + b / tokens**beta


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("table", TABLES)
def test_its_interval_holds_the_law_at_the_tokens_asked_or_it_is_refused(
    table: str, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """10 times the tokens was answered as if it were the table's own, three SDs off."""
    monkeypatch.setattr(bent_surface, "DRAWS", 50)
    tokens = np.array(TABLES[table])
    sizes, varies, wanted = SIZES[: len(tokens)], len(set(tokens)) > 1, ASKED[asked]
    law = LAWS[asked == "other"]
    frame = pd.DataFrame({"N": sizes, "D": tokens, "loss": truth(law, sizes, tokens)})
    question = {"params": "N", "tokens": "D", "loss": "loss", "is_forecast": True, "points": [(8e8, wanted)]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if varies and wanted is None:
            with pytest.raises(errors.ConfigError, match="but must name tokens too"):
                fit(frame, **question)
            return
        found = fit(frame, **question).forecast
    assert found is not None and len(found.forecasts) == len(sizes) - 2
    for item in found.forecasts:
        assert item.tokens is not None
        assert item.interval.holds(truth(law, item.params, item.tokens))
    assert found.forecasts[-1].tokens == (wanted or D)
    is_of_size = any("a law of size alone" in note for note in found.notes)
    assert is_of_size == (not varies and wanted in (D, None))
    assert any("by the prior alone" in note for note in found.notes) == (not is_of_size)


#: Published surfaces: E, A, B, α, β (2024's of Chinchilla's points, 2022's, and that of repeated data).
PUBLISHED = (
    (1.8172, 482.01, 2085.43, 0.3478, 0.3658),
    (1.69, 406.4, 410.7, 0.34, 0.28),
    (1.87, 521.0, 1488.0, 0.353, 0.353),
)


@pytest.mark.parametrize("ratios", [(20,), (5, 10, 20, 40, 100)], ids=len)
@pytest.mark.parametrize("smallest", [1e6, 1e7, 5e7, 1.9e8, 1e9], ids="{:.3g}".format)
def test_models_of_any_size_are_forecast_alike(smallest: float, ratios: tuple[float, ...]) -> None:
    """What docs/laws.md says of it; nothing here has noise."""
    off = []
    for e, a, b, alpha, beta in PUBLISHED:
        sizes = (smallest, 2 * smallest, 4 * smallest, 16 * smallest)
        frame = pd.DataFrame(itertools.product(sizes, ratios), columns=["params", "ratio"])
        frame["tokens"] = frame["ratio"] * frame["params"]
        frame["loss"] = e + a / frame["params"] ** alpha + b / frame["tokens"] ** beta
        found = fit(frame, loss="loss", params="params", tokens="tokens", is_forecast=True).forecast
        assert found is not None and all(item.is_inside for item in found.forecasts)
        off += [-float(item.error or 0.0) for item in found.forecasts]
    print(f"{smallest:.3g}, {len(ratios)} ratios: too high by {min(off):.2%} to {max(off):.2%}")
    assert max(map(abs, off)) < 0.008


def test_sizes_that_are_no_counts_are_forecast_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Depths and widths say nothing of how large a term is; in millions and in ones they are no counts."""
    monkeypatch.setattr(bent_surface, "DRAWS", 20)
    size = np.array([2.0, 3.0, 4.0, 8.0])
    loss = 2 + 3 / size
    found = [
        fit(
            pd.DataFrame({"size": size * unit, "loss": loss}), loss="loss", params="size", is_forecast=True
        ).forecast.forecasts[0].expected
        for unit in (1, 64, 1000)
    ]  # fmt: skip
    assert found[1:] == pytest.approx([found[0]] * 2, rel=1e-4)
