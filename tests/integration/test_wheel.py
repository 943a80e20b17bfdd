"""The wheel works from any folder, without the checkout beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tiny_sweep import write_sweep

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new virtual environment holding the built wheel; dependencies are borrowed from this one."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, CHECKOUT]
    subprocess.run(build, check=True, capture_output=True)
    environment = folder / "venv"
    venv.create(environment)
    python = environment / "bin" / "python"
    wheel = next(folder.glob("*.whl"))
    pip = [sys.executable, "-m", "pip", "--python", python, "install"]
    subprocess.run([*pip, "--no-deps", "--no-index", "-q", wheel], check=True)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = subprocess.check_output([python, "-c", where], text=True)
    # Appended after the new site-packages, without processing the editable install's own .pth file.
    (Path(site.strip()) / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return environment / "bin"


def run(installed: Path, folder: Path, *args: str) -> str:
    clean = {"PATH": os.environ["PATH"], "HOME": str(folder), "SWEEPKIT_RESULTS_DIR": str(folder / "results")}
    done = subprocess.run(
        [installed / "sweepkit", *args], cwd=folder, env=clean, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_brings_all_that_commands_need_in_an_empty_folder(installed: Path, tmp_path: Path) -> None:
    where = subprocess.check_output(
        [installed / "python", "-c", "import sweepkit; print(sweepkit.__file__)"], cwd=tmp_path, text=True
    )
    package = Path(where.strip()).parent
    assert installed.parent in package.parents, "the checkout was imported instead of the wheel"
    assert (package / "conf" / "config.yaml").is_file()
    assert (package / "sweeps" / "demo.yaml").is_file()
    assert (package / "ideas" / "dyt.patch").is_file()
    assert list((package / "data" / "corpus").glob("*.parquet"))
    assert list((package / "data" / "corpus").glob("NOTICE*"))
    assert "depth: 4" in run(installed, tmp_path, "train", "model=d4", "--cfg", "job")
    assert '"depth": 12' in run(installed, tmp_path, "plan", "model=d12", "--format", "json")
    assert "d24" in run(installed, tmp_path, "plan", "sweep=x0_beta1")
    # code: refs are of a checkout, patches and folders of anybody
    package_copy = tmp_path / "mine" / "sweepkit"
    shutil.copytree(package, package_copy, ignore=shutil.ignore_patterns("__pycache__"))
    with (package_copy / "model" / "mlp.py").open("a") as source:
        source.write("\n# mine\n")
    levels = "{patch: {code: ideas/dyt.patch}, folder: {code: mine}}"
    write_sweep(tmp_path, "codes", axes=f"{{idea: {levels}}}", reference="{}", ladder="none")
    planned = run(installed, tmp_path, "plan", "sweep=codes")
    assert "ideas/dyt.patch, " in planned and "mine, 1 file +2 −0" in planned
    write_sweep(tmp_path, "refs", axes="{idea: {it: {code: main}}}", reference="{}", ladder="none")
    with pytest.raises(AssertionError, match="no checkout with refs is around it"):
        run(installed, tmp_path, "plan", "sweep=refs")
