"""``sweepkit.analysis.fit`` from Python: every field with every kind of value is read, or refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import pytest

from sweepkit.analysis import fit
from sweepkit.analysis.laws import bent_surface
from sweepkit.analysis.laws.question import Question
from sweepkit.errors import ConfigError

VALUES: tuple[Any, ...] = (
    object(), "x", "", 2.5, 2, -1, float("nan"), float("inf"), True, None, [], ["lr"], {"lr": 1}, (1.0, 2.0),
    np.float64(0.5), np.array([1.0]), np.array([[1.0, 2.0]]), pd.Timestamp("2020-01-01"), range(2), b"lr",
)  # fmt: skip
KINDS: dict[str, dict[str, Any]] = {
    "optima": {"axis": "lr", "by": "depth"},
    "ridges": {"axis": "lr", "second_axis": "batch"},
    "sizes": {"params": "params", "tokens": "tokens", "replicates": 3},
    "forecast": {"params": "params", "tokens": "tokens", "is_forecast": True},
    "batches": {"batch": "batch", "tokens": "tokens"},
    "known optima": {"optimum": "lr", "scale": "depth"},
}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    places = np.meshgrid(
        [2.0, 3, 4, 6], 0.01 * 2.0 ** np.arange(4), 1024 * 2.0 ** np.arange(4), indexing="ij"
    )
    depth, lr, batch = (np.ravel(item) for item in places)
    params, tokens = 1e8 * depth, 1e9 * (batch / 1024) ** 1.5 * (1 + lr)
    loss = 2 + 300 / params**0.3 + 500 / tokens**0.3 + 0.02 * np.log(lr / 0.03) ** 2
    columns = {"depth": depth, "lr": lr, "batch": batch, "params": params, "tokens": tokens, "loss": loss}
    return pd.DataFrame(columns)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_field_and_kind_of_value(
    kind: str, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bent_surface, "DRAWS", 2)
    refused = 0
    for item in dataclasses.fields(Question):
        for value in VALUES[:: 4 if kind == "forecast" else 1]:
            try:
                fit(table, **({"loss": "loss"} | KINDS[kind] | {item.name: value}))
            except ConfigError:
                refused += 1
    assert refused > 50


def test_columns_may_be_numbers_and_points_pairs_or_sizes(
    table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bent_surface, "DRAWS", 2)
    numbered = table.rename(columns={"lr": 0, "loss": 1})
    assert fit(numbered, axis="0", loss="1").optima == fit(table, axis="lr", loss="loss").optima
    asked = {"loss": "loss", "params": "params", "is_forecast": True}
    for points in ([3e9], 3e9, [(3e9, None)], np.array([3e9])):
        found = fit(table, **asked, points=points).forecast
        assert found is not None and found.forecasts[-1].params == 3e9
    with pytest.raises(ConfigError, match="be a known key; did you mean 'params'"):
        fit(table, **asked, param="params")
