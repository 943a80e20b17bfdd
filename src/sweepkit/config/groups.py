"""Configuration groups: the folders of ``conf/`` and the files in them."""

from __future__ import annotations

import functools
from functools import lru_cache
from pathlib import Path
from typing import Any

from sweepkit import errors
from sweepkit.config import own_conf
from sweepkit.config.override import Override
from sweepkit.config.schema import RunConfig


@lru_cache(maxsize=16)
def available(folder: Path) -> dict[str, tuple[str, ...]]:
    """Group → its options, both sorted.

    Raises:
        ConfigError: ``folder`` is not a configuration folder.
    """
    if not (folder / "config.yaml").is_file():
        raise errors.invalid(
            "configuration folder",
            str(folder),
            "hold a config.yaml",
            "unset SWEEPKIT_CONF_DIR, or point it at a copy of sweepkit's conf folder",
        )
    return {
        path.name: tuple(sorted(map(functools.partial(_option, path), path.rglob("*.yaml")), key=_natural))
        for path in sorted(folder.iterdir())
        if path.is_dir() and not path.name.startswith(".")
    }


def group_of(folder: Path, override: Override) -> str | None:
    """The group that an override chooses from, or None for a value (``optimizer={x0: ...}`` too)."""
    key = override.key
    return key if key in available(folder) and not isinstance(override.value, dict) else None


def option(folder: Path, group: str, override: Override) -> str:
    """The option that an override chooses, or several as ``[a,b]``: the later of them win.

    Raises:
        ConfigError: the group has no such option; all are listed.
    """
    if isinstance(override.value, list):
        return f"[{','.join(_known(folder, group, str(name)) for name in override.value)}]"
    # the schema's names may look like other values to the grammar, so the text is what counts
    return _known(folder, group, override.text.strip("'\""))


def _known(folder: Path, group: str, name: str) -> str:
    options = available(folder)[group]
    if name in options:
        return name
    if group == "dataset" and (Path(name).exists() or "/" in name):
        contract = "be one of the datasets by name; a file or folder of your own is dataset=files"
        raise errors.invalid(group, name, contract, f"write dataset=files dataset.path={name}")
    contract = f"be one of [{', '.join(options)}]"
    own = own_conf.own_files(folder).get(f"{group}/{name}")
    if own is not None and own.left_out:
        raise errors.invalid(group, name, f"{contract} ({own.path}: {own.left_out})", "correct that file")
    close = errors.did_you_mean(name, options)
    shown = name if name.isprintable() else "NAME"  # an error is one line
    remedy = close if close.startswith("did") else f"add conf/{group}/{shown}.yaml,"
    raise errors.invalid(group, name, contract, f"{remedy} {_single(group)}")


def _option(group: Path, file: Path) -> str:
    """``lr/hot`` of ``experiment/lr/hot.yaml``."""
    return file.relative_to(group).with_suffix("").as_posix()


def _single(group: str) -> str:
    block: Any = getattr(RunConfig(), group, None)
    return (
        f"or set a single field, as {group}.{next(iter(vars(block)))}=VALUE" if block else "or leave it out"
    )


def _natural(name: str) -> tuple[str, int]:
    """d2 before d12."""
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or 0)
