"""From overrides to a checked RunConfig: ``compose(["model=d12", "optimizer.x0.lr=0.4"])``.

Hydra composes once per choice of groups (about 40 ms, cached); values are then set on a copy, each
converted and type-checked by OmegaConf against the schema, and interpolations are resolved last.
Precedence: schema < groups < experiment < command line, as in any Hydra app. It works from any folder,
repeatedly, and inside a running Hydra app, whose global state is put back. Hydra's own messages hide
their cause, so errors are the house's.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import hydra
import yaml  # type: ignore[import-untyped]
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from sweepkit import errors
from sweepkit.config import assign, cross_checks, groups, hydras_own, interpolations, own_conf, yaml_words
from sweepkit.config.override import Override, parse, refuse_adding
from sweepkit.config.schema import RunConfig

#: The file that all is composed from: ``config.yaml`` with the settings of Hydra that we need.
PRIMARY = "command_line"
#: Hydra 1.3 wants to be told which defaults hold; later ones have one set, and warn.
VERSION_BASE: dict[str, str] = {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}
#: Hydra's global state is not thread-safe.
_lock = threading.RLock()


def register_schema() -> None:
    """Put the schema where ``conf/config.yaml`` finds it. Calling it again changes nothing."""
    store = ConfigStore.instance()
    if "schema.yaml" not in store.repo:  # it takes as long as composing
        store.store(name="schema", node=RunConfig, provider="sweepkit")


def compose(overrides: Sequence[str] = ()) -> RunConfig:
    """Compose and check a configuration.

    Args:
        overrides: as on the command line, ``GROUP=OPTION`` or ``FIELD=VALUE``; later ones win.
            ``hydra.searchpath=[FOLDER]`` adds options to groups (``own_conf.py``).

    Returns:
        A RunConfig of the caller's own; "auto" values are still "auto".

    Raises:
        ConfigError: unknown group, option or field, wrong type, or a broken rule.
    """
    folder, chosen, values = _asked(overrides)
    with _lock:
        found = _composed(folder, chosen)
        own_conf.say(folder, found.used)
        config = assign.assign(found.cfg, found.config, values)
    cross_checks.check(config)
    return config


def sweeper_params(overrides: Sequence[str]) -> dict[str, Any]:
    """What files chosen by ``overrides`` have a multirun sweep besides (``hydra.sweeper.params``).

    Raises:
        ConfigError: a file chooses another sweeper.
    """
    folder, chosen, _ = _asked(overrides)
    with _lock:
        sweeper = _composed(folder, chosen).sweeper
    if not str(sweeper.get("_target_")).endswith(".BasicSweeper"):
        raise errors.invalid(
            "hydra/sweeper",
            sweeper.get("_target_"),
            "be left alone by a configuration file: a multirun is sweepkit's own, and also searches",
            "keep hydra.sweeper.params there, and write search.n_trials=40 on the command line",
        )
    return dict(sweeper.get("params") or {})


def searchpath(overrides: Sequence[str]) -> tuple[str, ...]:
    """The folders that ``hydra.searchpath`` names among overrides, of which some may be malformed."""
    named = [item for item in overrides if item.lstrip("+").startswith(f"{hydras_own.SEARCHPATH}=")]
    return hydras_own.taken_out(map(parse, named))[1]


def _asked(overrides: Sequence[str]) -> tuple[Path, tuple[tuple[str, str], ...], list[Override]]:
    """The folder to compose from, the option of every group that is chosen, and the values."""
    others, searchpath = hydras_own.taken_out(map(parse, overrides))
    folder = own_conf.folder(searchpath)
    groups.available(folder)  # that there is one is checked now
    chosen: dict[str, str] = {}
    values: list[Override] = []
    for override in others:
        group = groups.group_of(folder, override)
        if group is not None:
            chosen[group] = groups.option(folder, group, override)
        elif override.is_added:
            raise refuse_adding(f"+{override.key}={override.text}")
        else:
            values.append(override)
    return folder, tuple(sorted(chosen.items())), values


def apply(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    """A copy of ``config`` with values changed (no groups), type-checked, rules not yet checked."""
    with _lock:
        cfg = OmegaConf.structured(interpolations.literally_all(config))
        return assign.assign(cfg, config, [parse(override) for override in overrides])


def with_block(config: RunConfig, block: str, overrides: Sequence[str]) -> RunConfig:
    """``config`` with one block as overrides of it say: fields set anew, or another option of a group.

    Raises:
        ConfigError: as ``compose`` does.
    """
    if any(map(is_group_override, overrides)):
        return replace(config, **{block: getattr(compose(overrides), block)})
    config = apply(config, overrides)
    cross_checks.check(config)
    return config


def is_group_override(override: str) -> bool:
    """Whether ``override`` chooses an option of a configuration group."""
    return groups.group_of(own_conf.folder(), parse(override)) is not None


def is_group(key: str) -> bool:
    """Whether a configuration group has this name."""
    return key in groups.available(own_conf.folder())


def options(group: str) -> tuple[str, ...]:
    """What can be chosen from a configuration group."""
    return groups.available(own_conf.of_all_commands())[group]


@dataclass(frozen=True)
class _Composed:
    """What Hydra makes of a choice of groups; it is only copied.

    Attributes:
        cfg: as OmegaConf.
        config: as an object; None where values are still to be resolved or given.
        used: the files, as ``model/d12``, where some of the folder are the user's own.
        sweeper: what they say under ``hydra.sweeper``.
    """

    cfg: DictConfig
    config: RunConfig | None
    used: tuple[str, ...]
    sweeper: dict[str, Any]


@lru_cache(maxsize=256)
def _composed(folder: Path, chosen: tuple[tuple[str, str], ...]) -> _Composed:
    register_schema()
    words = [f"{group}={option}" for group, option in chosen]
    state = GlobalHydra.instance()
    running, state.hydra = state.hydra, None
    try:
        with initialize_config_dir(config_dir=str(folder), job_name="sweepkit", **VERSION_BASE):
            used = _used(words) if own_conf.own_files(folder) else ()
            yaml_words.refuse_misread(folder, used)
            cfg = hydra_compose(PRIMARY, words, return_hydra_config=True)
        sweeper = OmegaConf.to_container(cfg.hydra.sweeper, resolve=False)
        with open_dict(cfg):
            del cfg["hydra"]
        is_open = interpolations.are_in(OmegaConf.to_container(cfg, resolve=False))
        config = None if is_open else OmegaConf.to_object(cfg)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise _broken_group(folder, chosen, error) from error
    finally:
        GlobalHydra.instance().hydra = running
    assert config is None or isinstance(config, RunConfig)
    assert isinstance(sweeper, dict)
    return _Composed(cfg, config, used, {str(key): value for key, value in sweeper.items()})


def _used(words: Sequence[str]) -> tuple[str, ...]:
    """The files that Hydra composes from; asking takes as long as composing."""
    loader = GlobalHydra.instance().config_loader()
    defaults = loader.compute_defaults_list(PRIMARY, list(words), RunMode.RUN).defaults
    return tuple(dict.fromkeys(str(item.config_path) for item in defaults))


def _broken_group(folder: Path, chosen: tuple[tuple[str, str], ...], error: Exception) -> errors.ConfigError:
    """A file in the configuration folder that does not fit the schema; the innermost cause says how."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    detail = own_conf.shown(folder, " ".join(str(cause).split()))
    where = str(folder)
    for name, file in own_conf.own_files(folder).items():
        if re.search(rf"(In |')'?{re.escape(name)}\b", str(error)):
            where = file.path
    return errors.invalid(
        "configuration folder" if where == str(folder) else "configuration file",
        where,
        f"compose with {dict(chosen)} (it says: {detail})",
        "correct that file; sweepkit fields lists every field and its type",
    )
