"""A variant is meant by its name, or by its levels as people write them."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from sweepkit.cli.main import main
from sweepkit.errors import ConfigError
from sweepkit.results import variant_said

NAMES = [f"optimizer.name={name},lr={lr}" for name in ("adam", "muon") for lr in ("0.01", "0.1", "null")]


@pytest.mark.parametrize(
    "said",
    [
        NAMES[0],
        "adam,0.01",
        "Adam, 1e-2",
        "adam 0.01",
        "('adam', 0.01)",
        "lr=0.01,optimizer.name=adam",
        "name=adam lr=.01",
        "{name: adam, lr: 0.01}",
        "[name='adam'; lr=0.010]",
    ],
)
def test_a_variant_by_its_levels(said: str) -> None:
    assert variant_said.find("reference", said, NAMES) == NAMES[0]


COMMAS = [f"Optimizer={name},LR={lr}" for name in ("adam", "muon") for lr in ("0,01", "0,1", "1")]


@pytest.mark.parametrize(
    "said", ["adam,0.01", "adam,0,01", "LR=0.01,Optimizer=adam", "Optimizer=adam,LR=0,01"]
)
def test_a_level_with_a_decimal_comma_is_a_number(said: str) -> None:
    assert variant_said.find("reference", said, COMMAS) == COMMAS[0]
    assert variant_said.find("reference", "0.1", ["0,01", "0,1", "other"]) == "0,1"
    with pytest.raises(ConfigError, match="mean one variant, not 3"):
        variant_said.find("reference", "Optimizer=adam", COMMAS)


def test_what_is_suggested_has_the_values_that_were_named() -> None:
    names = [f"Optimizer={name},LR={lr}" for name in ("sgd", "adam") for lr in (1, 2)]
    for said, near in (
        ("Optimiser=adam", names[2:]),
        ("Optimizer=adam,LR=3", names[2:]),
        ("sgd,3", names[:2]),
    ):
        with pytest.raises(ConfigError) as raised:
            variant_said.find("--reference", said, names)
        assert [name for name in names if name in str(raised.value)] == near


def test_every_variant_is_found_by_its_levels_in_any_order() -> None:
    for name in NAMES:
        for order in itertools.permutations(name.split(",")):
            assert variant_said.find("reference", ",".join(order), NAMES) == name


@pytest.mark.parametrize(
    "name", ["0.10", "none", "a,b", "betas=(0.9, 0.95),lr=1", "x=1=2", "", "a=", "()", "("]
)
def test_a_name_is_always_its_own(name: str) -> None:
    assert variant_said.find("reference", name, [name, "0.1", "b,a", "other"]) == name


def test_commits_that_read_as_infinity_are_not_one() -> None:
    with pytest.raises(ConfigError):
        variant_said.find("reference", "12e0999", ["77e0912", "other"])


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("name=adam", "mean one variant, not 3"),
        ("muon,0.2", f"did you mean '{NAMES[3]}'"),
        ("0.01,adam", NAMES[0]),  # levels without axes are in the order of the axes
        ("beta=3", "known: optimizer.name=adam,lr=0.01"),
        (",", "known: "),
    ],
)
def test_what_is_meant_by_nobody_or_several_names_those_that_are_near(said: str, words: str) -> None:
    with pytest.raises(ConfigError) as raised:
        variant_said.find("--reference", said, NAMES)
    assert words in str(raised.value)


def test_verdict_and_import_take_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path / "results"))
    lines = [
        f"{name},{lr},{seed},{1 - 0.1 * (name == 'muon') + seed / 1000 + lr * (seed % 2) / 100}"
        for name in ("adam", "muon")
        for lr in (0.01, 0.1)
        for seed in range(5)
    ]
    table = tmp_path / "raw.csv"
    table.write_text("\n".join(["optimizer,lr,seed,val_bpb", *lines]) + "\n")
    assert main(["verdict", str(table), "--reference", "lr=0.01,optimizer=adam"]) == 2
    assert "--variant lr,optimizer --reference lr=0.01,optimizer=adam" in capsys.readouterr().err
    assert main(["import", str(table), "--variant", "optimizer,lr", "--reference", "adam,0.01"]) == 0
    assert main(["verdict", "--runs", "raw"]) == 3
    first = capsys.readouterr().out
    assert "better than optimizer=adam,lr=0.01" in first
    assert main(["verdict", "raw", "--reference", "adam,0.1", "decision.alpha=0.05"]) == 3
    assert "better than optimizer=adam,lr=0.1:" in capsys.readouterr().out
    assert main(["verdict", "raw", "--target", "1.2", "--variant", "lr=0.1,optimizer=muon"]) in (0, 3)
    assert main(["verdict", "decision.alpha=0.05"]) == 2
    assert "--runs is None" in capsys.readouterr().err
