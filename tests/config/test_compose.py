"""Composing: precedence, groups, values as Hydra's grammar reads them, any folder, inside a Hydra app."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sweepkit.config import paths
from sweepkit.config.choices import DatasetKind, Dtype, MatrixOptimizer, TokenizerCorpus, WeightDecaySchedule
from sweepkit.config.compose import apply, compose, is_group_override, register_schema
from sweepkit.config.schema import RungConfig
from sweepkit.errors import ConfigError


def test_a_variable_set_to_nothing_is_unset(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("SWEEPKIT_CACHE_DIR", "XDG_CACHE_HOME", "SWEEPKIT_RESULTS_DIR"):
        monkeypatch.setenv(name, "")
    assert paths.cache_dir() == tmp_path / ".cache" / "sweepkit"
    assert paths.results_dir() == Path("results").absolute()


def test_defaults_are_the_schema() -> None:
    """conf/ states only differences: with no override nothing differs but the names of what was chosen."""
    from sweepkit.config.schema import RunConfig

    assert compose() == RunConfig()


def test_groups_are_chosen_and_later_ones_win() -> None:
    config = compose(["model=d20", "model=d4", "optimizer=adamw", "tokenizer=shared"])
    assert config.model.depth == 4
    assert config.optimizer.matrix.kind is MatrixOptimizer.adamw
    assert config.tokenizer.corpus is TokenizerCorpus.embedded


def test_precedence_schema_group_experiment_command_line() -> None:
    assert compose().horizon.sequence_len == 2048
    assert compose(["experiment=mini"]).horizon.sequence_len == 128
    assert compose(["experiment=mini", "horizon.sequence_len=64"]).horizon.sequence_len == 64
    # the experiment's own choice of model gives way to the command line's, in any order
    assert compose(["experiment=mini"]).model.depth == 4
    assert compose(["model=d2", "experiment=mini"]).model.depth == 2
    # an experiment wins over a group that it differs from
    constant = compose(["schedule=constant", "experiment=mini"]).schedule
    assert constant.weight_decay is WeightDecaySchedule.constant
    assert constant.warmup_ratio == 0.1


def test_values_of_every_kind() -> None:
    config = compose(
        [
            "dataset=files",
            "model.depth=3",
            "optimizer.x0.lr=1e-2",
            "model.smear=false",
            "precision.dtype=fp32",
            "horizon.total_batch_size=131072",
            "model.short_window=auto",
            "model.num_kv_heads=null",
            "evaluation.streams=[validation]",
            'dataset.path="/some where/a=b, c"',
            "evaluation.sample_prompt='It\\'s'",
            "ladder.rungs=[{name: a, overrides: ['model=d2'], num_seeds: 2}]",
        ]
    )
    assert (config.model.depth, config.optimizer.x0.lr, config.model.smear) == (3, 0.01, False)
    assert config.precision.dtype is Dtype.fp32
    assert config.horizon.total_batch_size == 131072
    assert config.model.short_window == "auto"
    assert config.evaluation.streams == ["validation"]
    assert config.dataset.path == "/some where/a=b, c"
    assert config.evaluation.sample_prompt == "It's"
    assert config.ladder.rungs == [RungConfig("a", ["model=d2"], 2)]


def test_whole_blocks_merge_into_what_is_there() -> None:
    config = compose(["optimizer.x0={lr: 0.25}", "optimizer={smear: {lr: 0.1}, embedding.lr: 0.4}"])
    assert config.optimizer.x0.lr == 0.25
    assert config.optimizer.x0.beta1 == 0.96
    assert (config.optimizer.smear.lr, config.optimizer.embedding.lr) == (0.1, 0.4)


def test_interpolations_see_the_whole_configuration() -> None:
    config = compose(["model.depth=6", "dataset.name=${tokenizer.name}_${model.depth}"])
    assert config.dataset.name == "bpe_6"
    with pytest.raises(ConfigError, match=r"dataset\.name.*no\.such"):
        compose(["dataset.name=${no.such}"])


@pytest.fixture
def own_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the configuration folder, in use."""
    mine = tmp_path / "conf"
    shutil.copytree(paths.conf_dir(), mine)
    monkeypatch.setenv("SWEEPKIT_CONF_DIR", str(mine))
    return mine


def test_values_come_first_and_interpolations_last(own_conf: Path) -> None:
    """In files, lists and chains: whatever is set on the command line is what they see."""
    (own_conf / "experiment" / "linked.yaml").write_text(
        "# @package _global_\n"
        "optimizer:\n  x0:\n    lr: ${optimizer.embedding.lr}\n  smear:\n    lr: ${optimizer.x0.lr}\n"
        "evaluation:\n  streams: [validation, '${tokenizer.name}']\n"
    )
    (own_conf / "horizon" / "as_seed.yaml").write_text("# As many steps as the seed.\nnum_steps: ${seed}\n")
    config = compose(
        [
            "experiment=linked",
            "optimizer.embedding.lr=0.1",
            "tokenizer.name=probe",
            "horizon=as_seed",
            "seed=7",
        ]
    )
    assert (config.optimizer.x0.lr, config.optimizer.smear.lr) == (0.1, 0.1)
    assert config.evaluation.streams == ["validation", "probe"]
    assert config.horizon.num_steps == 7
    over = compose(["experiment=linked", "optimizer.x0.lr=0.7", "tokenizer.name=probe"]).optimizer
    assert (over.embedding.lr, over.x0.lr, over.smear.lr) == (0.3, 0.7, 0.7)
    chained = compose(["horizon.num_steps=${model.depth}", "model.depth=${seed}", "seed=5"])
    assert (chained.horizon.num_steps, chained.model.depth) == (5, 5)
    block = compose(["optimizer.x0=${optimizer.smear}", "optimizer.smear={lr: 0.4}"]).optimizer.x0
    assert (block.lr, block.beta1) == (0.4, 0.8)


def test_what_a_file_leaves_open_may_be_given(own_conf: Path) -> None:
    (own_conf / "dataset" / "mine.yaml").write_text("# Mine.\nkind: files\npath: ???\n")
    assert compose(["dataset=mine", "dataset.path=/text"]).dataset.path == "/text"
    with pytest.raises(ConfigError, match=r"dataset\.path.*add dataset\.path=PATH"):
        compose(["dataset=mine"])


def test_a_ladders_overrides_are_resolved_where_they_are_composed(own_conf: Path) -> None:
    (own_conf / "ladder" / "mine.yaml").write_text(
        "# Mine.\nname: mine\nbase: ['horizon.num_steps=${seed}']\n"
        "rungs: [{name: a, overrides: ['seed=${model.depth}']}]\n"
    )
    ladder = compose(["ladder=mine", "seed=9"]).ladder
    assert ladder.base == ["horizon.num_steps=${seed}"]
    assert ladder.rungs[0].overrides == ["seed=${model.depth}"]


def test_what_is_returned_is_the_callers_own() -> None:
    first = compose()
    first.evaluation.streams.append("x")
    first.optimizer.x0.lr = 9.0
    assert compose().evaluation.streams == ["validation", "probe"]
    assert compose().optimizer.x0.lr == 0.5


def test_apply_copies() -> None:
    config = compose()
    changed = apply(config, ["optimizer.x0.lr=0.25", "seed=7"])
    assert (changed.optimizer.x0.lr, changed.seed) == (0.25, 7)
    assert (config.optimizer.x0.lr, config.seed) == (0.5, 1)


def test_is_group_override() -> None:
    assert is_group_override("model=d12")
    assert not is_group_override("model.depth=12")
    assert not is_group_override("seed=1")


def test_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert compose(["model=d16"]).model.depth == 16
    assert list(tmp_path.iterdir()) == []


def test_another_configuration_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "conf"
    shutil.copytree(paths.conf_dir(), mine)
    (mine / "model" / "mine.yaml").write_text("# Mine.\ndepth: 5\n")
    (mine / "model" / "broken.yaml").write_text("# Broken.\ndepht: 5\n")
    monkeypatch.setenv("SWEEPKIT_CONF_DIR", str(mine))
    assert compose(["model=mine"]).model.depth == 5
    with pytest.raises(ConfigError, match="depht"):
        compose(["model=broken"])
    for content in (b"depth: [1", b"depth: \xff", b"3"):
        (mine / "model" / "broken.yaml").write_bytes(content)
        with pytest.raises(
            ConfigError, match=r"configuration folder is .*'model': 'broken'.*correct that file"
        ):
            compose(["model=broken"])
    monkeypatch.setenv("SWEEPKIT_CONF_DIR", "")
    assert paths.conf_dir() != mine
    monkeypatch.setenv("SWEEPKIT_CONF_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"config\.yaml.*SWEEPKIT_CONF_DIR"):
        compose()


@pytest.mark.slow
def test_inside_a_running_hydra_app(tmp_path: Path) -> None:
    """compose() leaves the state of the app around it as it was."""
    app = tmp_path / "app.py"
    app.write_text(
        "import hydra\n"
        "from hydra.core.global_hydra import GlobalHydra\n"
        "from hydra.core.hydra_config import HydraConfig\n"
        "from sweepkit.config import compose, paths\n"
        "compose.register_schema()\n"
        "@hydra.main(version_base='1.3', config_path=str(paths.conf_dir()), config_name='config')\n"
        "def main(config):\n"
        "    before = GlobalHydra.instance().hydra\n"
        "    assert compose.compose(['model=d4']).model.depth == 4\n"
        "    assert compose.compose(['model=d6']).model.depth == 6\n"
        "    assert GlobalHydra.instance().hydra is before\n"
        "    assert HydraConfig.get().runtime.choices['model'] == 'd2'\n"
        "    print('depth', config.model.depth)\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, str(app), "model=d2"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "depth 2"


def test_registering_twice_changes_nothing() -> None:
    register_schema()
    register_schema()
    assert compose().dataset.kind is DatasetKind.embedded


def test_an_option_with_a_line_break_is_refused_in_one_line() -> None:
    with pytest.raises(ConfigError) as refused:
        compose(["model='a\nb'"])
    assert "\n" not in str(refused.value) and "add conf/model/NAME.yaml" in str(refused.value)
