"""FP8 is refused where no product would be in it, and stands where one is."""

from __future__ import annotations

import re

import pytest

from sweepkit.config.compose import compose
from sweepkit.errors import ConfigError
from sweepkit.plan import fp8_share, sizing
from sweepkit.plan.build import build

MINI = ("experiment=mini", "precision=fp8")


def share(*overrides: str) -> float:
    config = compose([*MINI, *overrides])
    build(config)
    sizes = sizing.size(config)
    return fp8_share.fp8_flops_per_token(config, sizes) / sizes.flops_per_token


@pytest.mark.parametrize(
    "overrides",
    [
        ("model=d2",),
        ("model=d2", "precision.fp8.layers=projection"),
        ("model=d4", "precision.fp8.min_size=129"),
    ],
)
def test_a_model_without_a_large_layer_is_refused_with_the_size_that_fits(overrides: tuple[str, ...]) -> None:
    with pytest.raises(
        ConfigError, match=r"^precision\.fp8\.min_size is \d+, but must leave some product"
    ) as error:
        share(*overrides)
    fits = re.search(r"at most (\d+) here", str(error.value))
    assert fits is not None
    assert share(*overrides, f"precision.fp8.min_size={fits[1]}") > 0


def test_larger_ones_and_other_dtypes_stand() -> None:
    assert share("model=d4") > 0
    assert share("model=d2", "precision=bf16") == 0
