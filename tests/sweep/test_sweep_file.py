"""Sweep files: both forms, where they are found, and what a wrong one says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sweepkit.config import paths, typed
from sweepkit.errors import ConfigError
from sweepkit.sweep import file
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.file import SweepFile

LONG = """\
question: Does it help?
base: [model=d2]
axes:
  x0_beta1: {b80: [optimizer.x0.beta1=0.80], b96: [optimizer.x0.beta1=0.96]}
reference: {x0_beta1: b80}
combine: 2
seeds: [1, 2, 3]
decision: {alpha: 0.1, axes: {flops: superior}}
ladder: mini
"""


def write(folder: Path, text: str, name: str = "one") -> str:
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return str(path)


def test_long_form(tmp_path: Path) -> None:
    sweep = file.load(write(tmp_path, LONG))
    assert sweep.name == "one"
    assert sweep.axes == {
        "x0_beta1": {"b80": ("optimizer.x0.beta1=0.80",), "b96": ("optimizer.x0.beta1=0.96",)}
    }
    assert sweep.reference == {"x0_beta1": "b80"}
    assert (sweep.combine, sweep.seeds, sweep.ladder) == (2, (1, 2, 3), "mini")
    assert sweep.decision.axes.judged == {"steps": "superior", "wall_clock": "not_worse", "flops": "superior"}


def test_short_form_is_a_level_per_value(tmp_path: Path) -> None:
    text = "axes: {optimizer.matrix.lr: [0.02, 1e-3], trainer.compile: [true], model.window_pattern: [L, SL]}"
    sweep = file.load(write(tmp_path, text))
    assert sweep.axes["optimizer.matrix.lr"] == {
        "0.02": ("optimizer.matrix.lr=0.02",),
        "0.001": ("optimizer.matrix.lr=0.001",),
    }
    assert sweep.axes["trainer.compile"] == {"true": ("trainer.compile=true",)}
    assert sweep.axes["model.window_pattern"]["SL"] == ("model.window_pattern=SL",)


def test_reference_of_a_short_form_is_a_value(tmp_path: Path) -> None:
    text = "axes: {optimizer.matrix.lr: [0.02, 0.03]}\nreference: {optimizer.matrix.lr: 0.02}"
    assert file.load(write(tmp_path, text)).reference == {"optimizer.matrix.lr": "0.02"}


def test_json_round_trip(tmp_path: Path) -> None:
    sweep = file.load(write(tmp_path, LONG))
    assert SweepFile.from_json(typed.dump(sweep)) == sweep


def test_own_sweeps_come_before_shipped_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()
    write(tmp_path / "sweeps", LONG, "demo")
    assert file.load("demo").question == "Does it help?"
    assert file.load("x0_beta1").ladder == "gpt2"


@pytest.mark.parametrize("path", sorted(paths.sweeps_dir().glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_sweeps_load(path: Path) -> None:
    assert file.load(path.stem).question


def test_unknown_sweep_suggests_or_lists() -> None:
    with pytest.raises(ConfigError, match="did you mean 'x0_beta1'"):
        file.load("x0_beta")
    with pytest.raises(ConfigError, match=r"known: .*demo"):
        file.load("zzz")
    with pytest.raises(ConfigError, match=r"nowhere/at_all\.yaml"):
        file.load("nowhere/at_all.yaml")


AXES = "axes: {a: {x: [optimizer.x0.lr=0.1]}}\n"


def test_levels_of_the_short_form_are_any_values(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "axes:\n  horizon.total_batch_size: [auto, 65536]\n"
        "  optimizer.x0.lr: ['${optimizer.smear.lr}', 0.2]\n"
        "  experiment: [mini, [mini, earlier_model]]\n  evaluation.streams: [[probe], [validation, probe]]\n"
        "reference: {optimizer.x0.lr: '${optimizer.smear.lr}', experiment: mini}\n"
    )
    axes = file.load(path).axes
    assert axes["horizon.total_batch_size"]["auto"] == ("horizon.total_batch_size=auto",)
    assert axes["optimizer.x0.lr"]["optimizer.smear.lr"] == ("optimizer.x0.lr=${optimizer.smear.lr}",)
    assert axes["experiment"]["mini_earlier_model"] == ("experiment=[mini,earlier_model]",)
    assert axes["evaluation.streams"]["validation_probe"] == ("evaluation.streams=[validation,probe]",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (AXES + "sedes: [1]", "sedes.*did you mean 'seeds'"),
        (AXES + "name: other", "name.*named by its file"),
        (AXES + "seeds: [1, 1]", "every seed once"),
        (AXES + "seeds: 3", r"seeds is 3, but must be a list.*\[1, 2, 3\]"),
        (AXES + "seeds: [-1]", "seeds"),
        (AXES + "seeds: []", "seeds"),
        (AXES + "seeds: [true]", "seeds"),
        (AXES + "combine: 3", "combine is 3"),
        (AXES + "combine: true", "combine is True"),
        (AXES + "reference: {b: x}", "reference is 'b', but must name an axis"),
        (AXES + "reference: {a: y}", r"reference\.a is 'y', but must name a level"),
        (AXES + "ladder: [mini]", "ladder"),
        (AXES + "question: [what]", "question"),
        (AXES + "base: model=d2", "base is 'model=d2', but must be a list"),
        (AXES + "base: [model]", "base is 'model', but must be an override key=value"),
        (
            AXES + "decision: {alfa: 0.1}",
            r"decision\.alfa.*did you mean 'alpha'\?; sweepkit fields decision lists every key",
        ),
        (AXES + "decision: {alpha: 2}", r"decision\.alpha is 2\.0, but must lie between"),
        (AXES + "decision: {alpha: low}", r"decision\.alpha is 'low', but must be a number"),
        (AXES + "decision: {min_effect: -1}", r"decision\.min_effect"),
        (AXES + "decision: {metric: loss}", r"decision\.min_effect is None, but must be given for loss"),
        (
            AXES + "decision: {axes: {time: superior}}",
            r"decision\.axes\.time is 'superior', but must be a known key",
        ),
        (AXES + "decision: {axes: {steps: better}}", r"decision\.axes\.steps is 'better'"),
        (AXES + "decision: {margins: {flops: 2}}", r"decision\.margins\.flops"),
        (AXES + "decision: 0.1", "decision is 0.1"),
        ("axes: {}", "at least one axis"),
        ("seeds: [1]", "at least one axis"),
        ("axes: {a: 3}", r"axes\.a is 3"),
        ("axes: {a: []}", r"axes\.a"),
        ("axes: {a: [1, 1]}", "only once"),
        ("axes: {a: [{b: 1}]}", "plain values in the short form"),
        ("axes: {a: {x: 1}}", r"axes\.a\.x is 1, but must be a list of texts"),
        ("axes: {a: {x: [7]}}", r"axes\.a\.x\.0 is 7, but must be text"),
        ("axes: {a: {true: [b=1]}}", "put it in quotes"),
        ("axes: {a: {1: [b=1], '1': [b=2]}}", r"axes\.a is '1', but must stand there once"),
        ("axes: {1: {x: [b=1]}, '1': {x: [b=2]}}", "axes is '1', but must stand there once"),
        ("axes: {optimizer.x0.lr: [.inf]}", "finite numbers"),
        ("axes: {optimizer.x0.lr: [nan, 0.1]}", "finite numbers"),
        (AXES + "seeds: [1:30]", r"seeds\.0 is '1:30', but must be a whole number"),
        (AXES + "combine: yes", "combine is 'yes'"),
        ("axes: {a: {'x,y': [b=1]}}", "level name of letters"),
        ("axes: {a b: [1]}", "axis name of letters"),
        ("axes: {a: {x: [b=1], x: [b=2]}}", "valid YAML"),
        ("axes: [", "valid YAML"),
        ("- a\n- b", "map keys to values"),
        ("3", "map keys to values"),
        ("", "at least one axis"),
    ],
)
def test_wrong_files_say_what_to_do(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        file.load(write(tmp_path, text))


@pytest.mark.parametrize("name", ["runs", "all", ".hidden", "a b"])
def test_names_that_cannot_be_folders_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"name is .*rename the sweep file"):
        file.load(write(tmp_path, AXES, name))


def test_decision_defaults_and_round_trip() -> None:
    rule = DecisionRule()
    assert (rule.metric, rule.alpha, rule.min_effect) == ("val_bpb", 0.05, 0.0003)
    given: dict[str, Any] = {"metric": "bpb_probe", "alpha": 0.1, "margins": {"flops": 0.5}}
    rule = DecisionRule.from_json(given)
    assert rule.margins.given == {"wall_clock": 0.02, "flops": 0.5}
    assert DecisionRule.from_json(typed.dump(rule)) == rule


def test_numbers_and_words_are_read_as_people_write_them(tmp_path: Path) -> None:
    text = "axes: {model.smear: {on: [model.smear=on], no: [model.smear=no]}, x.y: [1e-3, 0.1, 2024-01-01]}\n"
    sweep = file.load(write(tmp_path, text + "seeds: [010, 1_000, 0x10]\nquestion: off\n"))
    assert sweep.seeds == (10, 1000, 16)
    assert list(sweep.axes["model.smear"]) == ["on", "no"]
    assert list(sweep.axes["x.y"]) == ["0.001", "0.1", "2024-01-01"]
    assert sweep.question == "off"
