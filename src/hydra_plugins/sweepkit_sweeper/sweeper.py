"""The Sweeper behind ``sweepkit train -m``.

Hydra imports this module at the start of every Hydra app on the machine, so that it imports nothing but
Hydra; the work is in ``sweepkit.cli.train_multirun``. Hydra's launchers are not used: runs go through
sweepkit's own, with its deduplication, resume and record of failures.
"""

from __future__ import annotations

from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


class SweepkitSweeper(Sweeper):
    """Expands the overrides of a multirun to a frozen sweep and runs it.

    Args:
        search: the options of a search, as in a sweep file's ``search:`` block; ``search.x=1`` on sweepkit's
            command line is ``hydra.sweeper.search.x=1`` here.
        other_sources: what is done with finished runs that other code made.
    """

    def __init__(self, search: Any = None, other_sources: str = "refuse") -> None:
        self._search, self._other_sources = search, other_sources

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Nothing to keep: plans hold all that a run needs."""

    def sweep(self, arguments: list[str]) -> Any:
        """Run the multirun. Raises SystemExit where runs failed, for Hydra drops what a sweeper returns."""
        from sweepkit.cli import train_multirun

        search = self._search
        if isinstance(search, DictConfig):
            search = OmegaConf.to_container(search, resolve=True)
        status = train_multirun.run(arguments, search or None, self._other_sources)
        if status:
            raise SystemExit(status)


ConfigStore.instance().store(
    group="hydra/sweeper",
    name="sweepkit",
    node={"_target_": "hydra_plugins.sweepkit_sweeper.sweeper.SweepkitSweeper"},
    provider="sweepkit_sweeper",
)
