"""What ``sweepkit fit --propose`` prints is a sweep's base: pasted into one, and that sweep planned."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from sweepkit.cli.main import main
from sweepkit.config import compose

RATE, BATCH = "optimizer.matrix.lr", "total_batch_size"
PUBLISHED = Path(__file__).parents[2] / "results/published/laws_mini"
MINI = ["experiment=mini", "model=d2"]


def world(path: Path, rate: float, batch: float) -> Path:
    """Optima of the rate ∝ width^rate, of the batch ∝ tokens^batch, at five depths."""
    rng, rows = np.random.default_rng(0), []
    sizes = [(depth, 64 * depth, 1e5 * depth**2) for depth in (2, 3, 4, 6, 8)]
    for (depth, width, tokens), lr, size, seed in itertools.product(
        sizes, 0.005 * 2.0 ** np.arange(6), 2 ** np.arange(9, 17), (1, 2)
    ):
        off = np.log(lr / 0.03 / (width / 256) ** rate), np.log(size / 6000 / (tokens / 1.6e6) ** batch)
        loss = 2.5 + 0.02 * off[0] ** 2 + 0.02 * off[1] ** 2 + 1e-3 * rng.standard_normal()
        rows.append((depth, width, tokens, lr, size, seed, loss))
    names = ["depth", "width", "total_tokens", RATE, BATCH, "seed", "val_bpb"]
    pd.DataFrame(rows, columns=names).to_csv(path, index=False)
    return path


def proposed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, list[list[str]]]:
    """What is printed, and the bases in it."""
    capsys.readouterr()
    assert main(["fit", *words, "--propose"]) == 0
    out = capsys.readouterr().out
    return out, [yaml.safe_load(line)["base"] for line in out.splitlines() if line.startswith("base:")]


@pytest.mark.parametrize(
    ("worlds", "asked", "expected"),
    [
        ((0.0, 0.4), (RATE, "width"), [f"{RATE}=0.03"]),
        ((-0.5, 0.4), (RATE, "width"), [f"{RATE}=0.0424", f"{RATE}=0.0346"]),
        ((0.0, 0.383), (BATCH, "total_tokens"), ["horizon.total_batch_size=auto"]),
        ((0.0, 0.8), (BATCH, "total_tokens"), ["horizon.total_batch_size=auto horizon.batch_exponent=0.8"]),
        ((0.0, 0.4), (RATE, None), [f"{RATE}=0.03"]),
    ],
)
def test_a_sweep_takes_it_as_its_base(
    worlds: tuple[float, float],
    asked: tuple[str, str | None],
    expected: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Brackets were read as colours, and the line was ``base:`` and nothing; a batch was no field."""
    table = world(tmp_path / "world.csv", *worlds)
    axis, scale = asked
    by = ["--by", "depth", "--scale", scale] if scale else ["--where", "depth == 4"]
    out, bases = proposed(capsys, str(table), "--axis", axis, *by)
    for base, words in zip(bases, expected, strict=False):
        for said, wanted in zip(base, words.split(), strict=True):
            (field, value), (name, number) = said.split("="), wanted.split("=")
            assert field == name
            assert value == number == "auto" or float(value) == pytest.approx(float(number), rel=0.03)
    for base in bases:
        compose.compose([*MINI, *base])
    assert len(bases) >= len(expected), out
    (tmp_path / "sweeps").mkdir()
    sweep = {"base": [*MINI, *bases[0]], "axes": {"optimizer.embedding.lr": [0.1, 0.2]}, "seeds": [1, 2]}
    (tmp_path / "sweeps" / "next.yaml").write_text(yaml.safe_dump(sweep))
    monkeypatch.chdir(tmp_path)
    assert main(["plan", "sweep=next"]) == 0


def test_what_the_schema_made_of_a_rate_is_no_override(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pd.read_csv(world(tmp_path / "world.csv", 0.0, 0.4))
    frame.rename(columns={RATE: "learning_rates_matrix"}).to_csv(tmp_path / "made.csv", index=False)
    out, bases = proposed(
        capsys, str(tmp_path / "made.csv"), "--axis", "learning_rates_matrix", "--by", "depth"
    )
    assert not bases and f"of {RATE}: fit that one" in " ".join(out.split())


def test_what_no_interval_bounds_is_not_proposed_and_what_one_bounds_says_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Three sizes and no law: of two the table said that their interval has no end, the proposals did not."""
    asked = ["--axis", RATE, "--by", "depth", "--where", "total_batch_size == 2048", "--scale", "width"]
    out, bases = proposed(capsys, str(PUBLISHED), *asked)
    assert bases == [[f"{RATE}=0.0300121"], [f"{RATE}=0.0531323"]]
    assert "# depth 2: nothing is proposed, for the optimum's interval is unbounded" in out
    assert f"[{RATE}=0.0300121]  # depth 3, 95% interval 0.02181 to 0.05022" in out
    assert f"[{RATE}=0.0531323]  # depth 4, 95% interval 0.03162 to unbounded" in out
    asked = ["--axis", RATE, "--where", "total_batch_size == 2048 and depth == 2"]
    out, bases = proposed(capsys, str(PUBLISHED), *asked)
    assert not bases and "# nothing is proposed, for the optimum's interval is unbounded" in out
