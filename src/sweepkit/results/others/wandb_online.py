"""Runs of a wandb project, through the public API of the wandb package: all of them, crashed ones too."""

from __future__ import annotations

from typing import Any

import pandas as pd

from sweepkit.errors import SweepkitError, invalid
from sweepkit.results.others.source import Source
from sweepkit.results.others.structured import flattened

_PARTS = 2
#: What runs of wandb's own making have, and nobody compares by.
_OWN = "_wandb"


def read(path: str) -> Source:
    """A row a run, in the order in which they were made, whatever became of them.

    Args:
        path: ``ENTITY/PROJECT``; of an address more may follow.

    Raises:
        SweepkitError: there is no such project, no key, or no network.
    """
    parts = [part for part in path.partition("?")[0].split("/") if part]
    if len(parts) < _PARTS:
        raise invalid("the table", f"wandb:{path}", "be wandb:ENTITY/PROJECT", "name both")
    project = "/".join(parts[:_PARTS])
    import wandb

    try:
        # whole at once: a lazy run asks the server again for its configuration
        runs = list(wandb.Api().runs(project, per_page=100, lazy=False))
    except Exception as error:  # wandb's own errors are of many classes, its network's of more
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise SweepkitError(
            f"wandb:{project} cannot be read ({type(error).__name__}: {said}), but must be a project that "
            "this "
            "account may see; set WANDB_API_KEY or run `wandb login`, or import a CSV export of its runs "
            "table"
        ) from error
    if not runs:
        raise invalid("the table", f"wandb:{project}", "have runs", "check entity and project")
    rows = [_row(run) for run in runs]
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = pd.DataFrame({name: [row.get(name) for row in rows] for name in names}, dtype=object)
    return Source(f"wandb:{project}", "wandb", cells, [f"run {run.id}" for run in runs])


def _row(run: Any) -> dict[str, Any]:
    config = {key: value for key, value in dict(run.config).items() if key != _OWN}
    summary = {key: value for key, value in dict(run.summary_metrics or {}).items() if key != _OWN}
    told = {
        "run_id": run.id,
        "name": run.name,
        "group": getattr(run, "group", None),
        "tags": ",".join(getattr(run, "tags", None) or ()),
        "state": run.state,
        "started_at": getattr(run, "created_at", None),
    }
    return told | flattened({"config": config, "summary": summary})
