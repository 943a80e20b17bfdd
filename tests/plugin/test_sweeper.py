"""The Hydra plugin: found by Hydra, light to import, and the default of sweepkit's configuration."""

from __future__ import annotations

import subprocess
import sys

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper


def test_hydra_finds_the_sweeper() -> None:
    names = {plugin.__name__ for plugin in Plugins.instance().discover(Sweeper)}
    assert "SweepkitSweeper" in names


def test_importing_it_imports_nothing_of_sweepkit() -> None:
    """Every Hydra app on the machine pays for this import."""
    code = (
        "import hydra, sys; before = set(sys.modules);"
        "import hydra_plugins.sweepkit_sweeper.sweeper;"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before};"
        "assert not new & {'sweepkit', 'torch', 'pandas', 'numpy', 'scipy'}, new"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_hydra_plugins_stays_a_namespace_package() -> None:
    """An __init__.py would hide the plugins of every other distribution."""
    import hydra_plugins

    assert hydra_plugins.__file__ is None
