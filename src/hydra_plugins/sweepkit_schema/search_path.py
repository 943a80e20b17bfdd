"""Makes sweepkit's ``conf`` folder compose in any Hydra application, as its main configuration folder.

``conf/config.yaml`` begins with ``schema``, a typed configuration that Hydra finds only where somebody has
registered it. Hydra asks plugins of this kind for search paths whenever it starts, in every application on
the machine, so that this module imports nothing but Hydra, and looks for the folder before it does anything.
"""

from __future__ import annotations

from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class SweepkitSchema(SearchPathPlugin):
    """Registers the schema where the application's main folder is a configuration folder of sweepkit."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Leaves the search path as it is."""
        for element in search_path.get_path():
            folder = Path(str(element.path).removeprefix("file://"))
            if element.provider == "main" and (folder / "command_line.yaml").is_file():
                from sweepkit.config import (
                    compose,
                )  # only here: Hydra imports this module in every application

                compose.register_schema()
