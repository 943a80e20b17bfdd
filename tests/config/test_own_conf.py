"""Files of the user's own: in ./conf, with --config-dir and hydra.searchpath, in any Hydra application."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

import sample
from sweepkit.cli.main import main
from sweepkit.config import facts, own_conf, paths
from sweepkit.config.compose import compose, options
from sweepkit.config.schema import RunConfig
from sweepkit.errors import ConfigError
from sweepkit.launch.slurm import snapshot
from sweepkit.sweep import expand, multirun

Write = Callable[[str, str], Path]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SWEEPKIT_CACHE_DIR", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def write(here: Path) -> Write:
    def write(name: str, text: str) -> Path:
        path = here / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def said(act: Callable[[], object]) -> list[str]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        act()
    return [str(item.message) for item in found]


def test_a_file_adds_an_option_or_replaces_one_and_that_is_said(write: Write) -> None:
    write("conf/model/mine", "depth: 5\n")
    write("conf/optimizer/muon", "matrix: {lr: 0.5}\n")
    assert "mine" in options("model")
    config = compose(["model=mine"])
    assert (config.model.depth, config.optimizer.matrix.lr) == (5, 0.5)
    assert said(lambda: compose(["model=mine"])) == [
        "conf/model/mine.yaml is used",
        "conf/optimizer/muon.yaml is used in place of the shipped file",
    ]
    assert said(lambda: compose(["optimizer=adamw"])) == [], "of what is used, and of nothing else"


def test_a_file_that_is_edited_is_read_again(write: Write) -> None:
    write("conf/model/mine", "depth: 5\n")
    assert compose(["model=mine"]).model.depth == 5
    write("conf/model/mine", "depth: 16\n")
    assert compose(["model=mine"]).model.depth == 16


@pytest.mark.slow
def test_own_experiments_choose_own_files_in_folders_and_lists(write: Write) -> None:
    write("conf/optimizer/fast", "matrix: {lr: 0.25}\n")
    write("conf/optimizer/fast/er", "matrix: {lr: 0.125}\n")
    write(
        "conf/experiment/lr/hot",
        "# @package _global_\ndefaults:\n  - override /optimizer: fast\nhorizon: {num_steps: 7}\n",
    )
    assert compose(["optimizer=fast/er"]).optimizer.matrix.lr == 0.125
    for words in (["experiment=lr/hot"], ["+experiment=lr/hot"], ["experiment=[lr/hot]"]):
        config = compose(words)
        assert (config.optimizer.matrix.lr, config.horizon.num_steps) == (0.25, 7)
    both = compose(["experiment=[mini,lr/hot]"])
    assert (both.horizon.sequence_len, both.horizon.num_steps) == (128, 7)
    with pytest.raises(ConfigError, match=r"experiment is 'lr/hat'.*lr/hot"):
        compose(["experiment=[mini,lr/hat]"])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("conf/config", "defaults: [nothing]\n"),
        ("conf/db/mysql", "host: localhost\n"),
        ("conf/trainer/default", "_target_: lightning.Trainer\ncompile: false\n"),
        ("conf/trainer/default", "max_epochs: 3\naccelerator: gpu\n"),
        ("conf/optimizer/muon", "- a list\n"),
        ("conf/experiment/baseline", "# @package _global_\ntags: [x]\nbackbone: {width: 3}\n"),
        ("conf/model/notes", "{{ jinja }}: [\n"),
        ("conf/model/bert", "name: no\nlayers: 012\n"),
    ],
)
def test_another_programs_folder_does_no_harm(name: str, text: str, write: Write) -> None:
    write(name, text)
    assert compose() == RunConfig()


def test_what_is_left_out_is_said(write: Write) -> None:
    write("conf/trainer/default", "max_epochs: 3\n")
    (line,) = said(compose)
    assert line.startswith("conf/trainer/default.yaml is not used: it is another program's")
    write("conf/model/bert", "layers: 12\n")
    with pytest.raises(ConfigError, match=r"model is 'bert'.*another program's.*correct that file"):
        compose(["model=bert"])


def test_an_error_names_the_users_file(write: Write) -> None:
    path = write("conf/model/mine", "depth: 5\ndepht: 4\n")
    with pytest.raises(ConfigError, match=rf"{path}.*depht.*sweepkit fields"):
        compose(["model=mine"])
    write("conf/model/mine", "depth: 010\n")
    with pytest.raises(ConfigError, match=rf"{path} line 1: model\.depth is '010'"):
        compose(["model=mine"])
    assert compose().model.depth == 12, "a file that is not used breaks nothing"


@pytest.mark.slow
def test_config_dir_comes_before_conf_and_searchpath_behind_all(here: Path, write: Write) -> None:
    for folder, depth in (("conf", 5), ("first", 6), ("last", 7)):
        write(f"{folder}/model/mine", f"depth: {depth}\n")
        write(f"{folder}/model/{folder}", f"depth: {depth}\n")
    write("last/model/d12", "depth: 9\n")
    assert compose(["model=mine"]).model.depth == 5
    with own_conf.beside(["first"]):
        assert compose(["model=mine"]).model.depth == 6
        assert compose(["model=first"]).model.depth == 6
    search = f"hydra.searchpath=[file://{here / 'last'}]"
    assert compose([search, "model=mine"]).model.depth == 5
    assert compose([search, "model=last"]).model.depth == 7
    assert compose([search]).model.depth == 12, "as for Hydra, a search path adds and replaces nothing"
    assert compose(["hydra.searchpath=[last]", "model=last"]).model.depth == 7
    with pytest.raises(ConfigError, match="model is 'last'"):
        compose(["model=last"])


def test_every_command_takes_a_config_dir(write: Write, capsys: pytest.CaptureFixture[str]) -> None:
    write("mine/experiment/small", "# @package _global_\nmodel: {depth: 3}\n")
    for command in ("plan", "data stats --format json"):
        assert main([*command.split(), "--config-dir", "mine", "experiment=small", "model.depth=many"]) == 2
        assert "model.depth is 'many'" in capsys.readouterr().err
    assert main(["plan", "experiment=small", "--config-dir=mine"]) == 0
    out, err = capsys.readouterr()
    assert "depth 3" in out and err == "sweepkit: mine/experiment/small.yaml is used\n"
    assert main(["train", "experiment=small", "-cd", "mine", "--cfg", "job", "-p", "model"]) == 0
    assert "depth: 3" in capsys.readouterr().out
    assert main(["plan", "experiment=small"]) == 2, "the next command does not know it"


def test_a_snapshot_holds_own_files_and_takes_no_more(
    here: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("conf/model/mine", "depth: 5\n")
    write("more/model/further", "depth: 6\n")
    compose(["hydra.searchpath=[more]", "model=further"])
    taken = snapshot.take(here / "snapshots")
    monkeypatch.setenv("SWEEPKIT_CONF_DIR", str(taken / "conf"))
    write("conf/model/mine", "depth: 7\n")
    write("conf/model/d12", "depth: 8\n")
    assert compose(["model=mine"]).model.depth == 5
    assert compose(["hydra.searchpath=[more]", "model=further"]).model.depth == 6
    assert compose().model.depth == 12
    assert said(lambda: compose(["model=mine"])) == ["conf/model/mine.yaml is used"]


def test_a_snapshot_without_own_files_takes_none_that_come_later(
    here: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = snapshot.take(here / "snapshots")
    monkeypatch.setenv("SWEEPKIT_CONF_DIR", str(taken / "conf"))
    write("conf/model/d12", "depth: 8\n")
    assert compose().model.depth == 12


def test_hydras_own_settings_say_what_they_do_not_do(write: Write) -> None:
    (line,) = said(lambda: compose(["hydra.run.dir=/tmp/x"]))
    assert line.startswith("hydra.run.dir has no effect: runs are kept in")
    for word in ("hydra.job.name=x", "hydra.sweep.dir=x", "hydra.verbose=true", "hydra/job_logging=none"):
        assert f"{word.partition('=')[0]} has no effect" in "".join(said(lambda word=word: compose([word])))
    write("conf/experiment/named", "# @package _global_\nhydra: {job: {name: x}}\nseed: 2\n")
    (line,) = said(lambda: compose(["experiment=named"]))
    assert line == "conf/experiment/named.yaml is used; hydra.job in it has no effect"


def test_a_files_sweeper_params_are_swept_by_a_multirun_alone(write: Write) -> None:
    write(
        "conf/experiment/scan",
        "# @package _global_\nseed: 1\nhydra: {sweeper: {params: {optimizer.x0.lr: '0.1,0.2'}}}\n",
    )
    rates = {
        cell.plan.config.optimizer.x0.lr
        for cell in expand.expand_all(*multirun.parse(["experiment=scan", "seed=1,2"]))
    }
    assert rates == {0.1, 0.2}
    assert compose(["experiment=scan"]).optimizer.x0.lr == 0.5
    (cell,) = expand.expand_all(*multirun.parse(["experiment=scan", "optimizer.x0.lr=0.3"]))
    assert cell.plan.config.optimizer.x0.lr == 0.3, "the command line wins"


_FIELDS = [
    field.key
    for field in facts.fields_of(RunConfig).values()
    if field.kinds == (float,) and field.facts.range is not None and "." in field.key
]


@pytest.mark.slow
@seed(sample.seed())
@settings(max_examples=40 if sample.is_full() else 5, suppress_health_check=list(HealthCheck), database=None)
@given(st.dictionaries(st.sampled_from(_FIELDS), st.sampled_from([0.25, 0.5]), min_size=1, max_size=4))
def test_a_file_says_what_the_command_line_says(write: Write, values: dict[str, float]) -> None:
    """Any fields, in an experiment of one's own."""
    lines = "".join(f"{key}: {value}\n" for key, value in values.items())
    nested: dict[str, object] = {}
    for key, value in values.items():
        *blocks, name = key.split(".")
        inside = nested
        for block in blocks:
            inside = inside.setdefault(block, {})  # type: ignore[assignment]
        inside[name] = value
    write("conf/experiment/drawn", f"# @package _global_\n# {len(lines)}\n{nested}\n")
    words = [f"{key}={value}" for key, value in values.items()]
    try:
        wanted = compose(words)
    except ConfigError as error:
        with pytest.raises(ConfigError) as found:
            compose(["experiment=drawn"])
        assert str(found.value) == str(error)
        return
    assert compose(["experiment=drawn"]) == wanted


APP = """
import hydra
@hydra.main({base}config_path={folder!r}, config_name="config")
def main(config):
    print("depth", config.model.depth, config.optimizer.x0.beta1)
main()
"""
PLAIN = """
from hydra import compose, initialize_config_dir
with initialize_config_dir(config_dir={folder!r}{base}):
    config = compose("config", ["model=d4", "experiment=mini"])
print("depth", config.model.depth, config.optimizer.x0.beta1)
"""


@pytest.mark.parametrize(
    ("text", "arguments", "lines"),
    [
        (PLAIN, [], ["depth 4 0.96"]),
        (APP, ["model=d2"], ["depth 2 0.96"]),
        (APP, ["-m", "model=d2,d4"], ["depth 2 0.96", "depth 4 0.96"]),
    ],
)
def test_the_shipped_folder_composes_in_any_hydra_application(
    text: str, arguments: list[str], lines: list[str], here: Path
) -> None:
    """Which runs its own function, with -m too."""
    import hydra

    is_old = hydra.__version__.startswith("1.3.")
    base = "" if not is_old else "version_base='1.3', " if text is APP else ", version_base='1.3'"
    (here / "app.py").write_text(text.format(folder=str(paths.conf_dir()), base=base))
    done = subprocess.run([sys.executable, "app.py", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("depth")] == lines
    assert not (here / "results").exists()


def test_hydra_loads_the_plugin_without_sweepkit() -> None:
    code = (
        "import hydra, sys; before = set(sys.modules);"
        "import hydra_plugins.sweepkit_schema.search_path;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "assert 'hydra_plugins' in new and not new & {'sweepkit', 'torch', 'pandas'}, new"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
