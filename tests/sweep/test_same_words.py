"""The same words are the same runs: Hydra's own basic sweeper, ``-m``, ``train``, ``plan`` and a sweep file.

Command lines are made up of keys, groups, choices, ranges, repeated keys and interpolations. The reference is
Hydra: its sweeper splits the line, it composes every job, and our plan of what comes out names the run.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.utils import get_class
from hypothesis import HealthCheck, assume, given, seed, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

import sample
from sweepkit.cli import plan as plan_command
from sweepkit.config import paths
from sweepkit.config.compose import VERSION_BASE, compose, register_schema
from sweepkit.config.schema import RunConfig
from sweepkit.errors import ConfigError
from sweepkit.plan.build import build
from sweepkit.sweep import expand, file, multirun

BASE = ["experiment=mini", "model=d2", "horizon.num_steps=20"]
LINKED = (
    "# @package _global_\n"
    "optimizer:\n  x0: {lr: '${optimizer.smear.lr}'}\n  smear: {lr: '${optimizer.resid.lr}'}\n"
    "evaluation: {max_bytes: '${horizon.reference_batch_size}'}\n"
)
BLOCK = "optimizer.smear"
WHOLE = ("horizon.num_steps", "evaluation.every_steps", "model.short_window", "tokenizer.vocab_size")
NUMBER = ("optimizer.x0.lr", "optimizer.resid.lr", "optimizer.smear.lr", "schedule.final_lr_frac")
GROUPS = {
    "packing": ("stream", "greedy_crop", "best_fit"),
    "optimizer": ("muon", "adamw"),
    "experiment": ("mini", "linked", "lr/hot", "[mini,linked]"),
    "model": ("d2", "d4"),
    "dataset": ("embedded", "embedded_books"),
}
WHOLE_VALUES = st.sampled_from(["300", "512", "1_000", "${seed}", "${model.depth}"])
NUMBER_VALUES = st.sampled_from(
    ["0.1", "1e-1", ".25", "0.5", "1", "${optimizer.resid.lr}", "${optimizer.embedding.lr}", "${..resid.lr}"]
)
#: What a multirun may refuse although Hydra would run it, in a line.
REFUSED = (
    "leave alone what was swept before it",  # the block would undo a sweep
    "set a field that axis",  # two axes set one field
    "differ from",  # two variants are one run
    "have one value in a multirun",  # seeds of weights are no variants
)


def several(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """One value, some of them, or some as a choice."""
    lists = st.lists(values, min_size=2, max_size=3).map(",".join)
    return st.one_of(values, lists, lists.map(lambda text: f"choice({text})"))


def values_of(key: str) -> st.SearchStrategy[str]:
    if key in GROUPS:
        return several(st.sampled_from(GROUPS[key])) | st.just(
            "glob(s*)" if key == "packing" else GROUPS[key][0]
        )
    if key in WHOLE:
        return several(WHOLE_VALUES) | st.just("range(300,302)")
    if key == "seed":
        return st.sampled_from(["1", "2,3", "range(4,6)", "5", "3,3"])
    if key == "init_seed":
        return st.sampled_from(["${seed}", "null", "3", "1,2"])
    if key == BLOCK:
        return NUMBER_VALUES.map(lambda value: f"{{lr: '{value}'}}")
    return several(NUMBER_VALUES)


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """A command line behind ``train -m``."""
    keys = draw(
        st.lists(
            st.sampled_from([*WHOLE, *NUMBER, *GROUPS, "seed", "init_seed", BLOCK]), min_size=1, max_size=4
        )
    )
    if (
        BLOCK in keys
    ):  # Hydra's sweeper moves a repeated key to where it stood first, and its single run does not
        assume(all(keys.count(key) == 1 for key in keys if key.startswith(BLOCK)))
    return [*BASE, *(f"{key}={draw(values_of(key))}" for key in keys)]


@pytest.fixture(scope="module", autouse=True)
def own_conf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    mine = tmp_path_factory.mktemp("conf") / "conf"
    shutil.copytree(paths.conf_dir(), mine)
    (mine / "experiment" / "linked.yaml").write_text(LINKED)
    (mine / "experiment" / "lr").mkdir()
    (mine / "experiment" / "lr" / "hot.yaml").write_text(
        "# @package _global_\nschedule: {final_lr_frac: 0.3}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SWEEPKIT_CONF_DIR", str(mine))
        register_schema()
        yield


def jobs_of(line: list[str]) -> tuple[list[list[str]], list[str | None]]:
    """The command lines that Hydra's sweeper makes of one, and the run that each is; None: refused."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(config_dir=str(paths.conf_dir()), job_name="test", **VERSION_BASE):
        parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
        sweeper = get_class(hydra_compose("config", return_hydra_config=True).hydra.sweeper._target_)
        (jobs,) = sweeper.split_arguments(parser.parse_overrides(line), None)
        assume(len(jobs) <= 6)
        return jobs, [run_of_hydras(job) for job in jobs]


def run_of_hydras(job: list[str]) -> str | None:
    try:
        config = OmegaConf.to_object(hydra_compose("config", job))
        assert isinstance(config, RunConfig)
        return build(config).run_id
    except (OmegaConfBaseException, HydraException, ConfigError):
        return None


def run_of_ours(job: list[str]) -> str | None:
    """By ``train`` and by ``plan``."""
    found = []
    for ask in (
        lambda: build(compose(job)).run_id,
        lambda: plan_command.planned(job).rows[0].plan.run_id,
    ):
        try:
            found.append(ask())
        except ConfigError as error:
            assert "\n" not in str(error)
            found.append(None)
    assert found[0] == found[1]
    return found[0]


@pytest.mark.slow
@seed(sample.seed())
@settings(
    max_examples=300 if sample.is_full() else 12, suppress_health_check=list(HealthCheck), database=None
)
@given(lines())
def test_a_multirun_is_what_hydra_would_run(line: list[str]) -> None:
    jobs, wanted = jobs_of(line)
    assert [run_of_ours(job) for job in jobs] == wanted
    try:
        found = {cell.plan.run_id for cell in expand.expand_all(*multirun.parse(line))}
    except ConfigError as error:
        assert "\n" not in str(error)
        assert None in wanted or any(words in str(error) for words in REFUSED), str(error)
        return
    assert found == set(wanted)


@pytest.mark.slow
@seed(sample.seed() + 1)
@settings(max_examples=100 if sample.is_full() else 6, suppress_health_check=list(HealthCheck), database=None)
@given(lines())
def test_a_sweep_file_with_the_same_words_has_the_same_runs(line: list[str]) -> None:
    """The plain words are its base, what is swept are its levels."""
    try:
        asked, extra = multirun.parse(line)
        cells = expand.expand_all(asked, extra)
    except ConfigError:
        assume(False)
    written = {axis: {level: list(it) for level, it in levels.items()} for axis, levels in asked.axes.items()}
    content = {"name": "same", "base": list(asked.base), "axes": written, "reference": asked.reference}
    sweep = file.SweepFile.from_json(content | {"combine": "all", "seeds": list(asked.seeds)})
    try:
        found = expand.expand_all(sweep)
    except ConfigError as error:  # a file asks for verdicts, and a multirun only for runs
        assert "be measured on one text by all" in str(error)
        return
    assert [cell.plan.run_id for cell in found] == [cell.plan.run_id for cell in cells]
