"""A command whose own packages are installed too runs what was frozen, or says what it runs instead."""

from __future__ import annotations

import os
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sweepkit.cli.main import main
from sweepkit.config import paths
from sweepkit.errors import ConfigError, Notice
from sweepkit.launch import code_levels, command_imports
from sweepkit.results import store
from sweepkit.sweep import file

TRAIN = """\
import json, os, sys
from pathlib import Path
import pkg.core
Path(sys.argv[1], "result.json").write_text(json.dumps({"loss": pkg.core.VALUE}))
"""
EDITABLE, PLAIN = "editable", "plain"


def environment(where: Path, folder: Path, kind: str) -> str:
    """A Python into which the package of a folder is installed, as pip does it."""
    venv.create(where, symlinks=True, clear=True)
    (site,) = (where / "lib").glob("python3*/site-packages")
    info = site / "pkg-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pkg\nVersion: 1\n")
    (info / "RECORD").write_text("pkg/__init__.py,,\n")
    (info / "direct_url.json").write_text(f'{{"url": "{folder.as_uri()}", "dir_info": {{}}}}')
    if kind == EDITABLE:
        (site / "_pkg.pth").write_text(f"{folder / 'src'}\n")
    else:
        (site / "pkg").mkdir()
        for path in (folder / "src" / "pkg").iterdir():
            (site / "pkg" / path.name).write_text(path.read_text())
    return str(where / "bin" / "python")


Make = Callable[..., str]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Writes a sweep file of a repository in src layout whose package is installed; its path."""
    folder = tmp_path / "a repository"
    (folder / "src" / "pkg").mkdir(parents=True)
    (folder / "sweeps").mkdir()
    (folder / "src" / "pkg" / "__init__.py").touch()
    (folder / "src" / "pkg" / "core.py").write_text("VALUE = 1.0\n")
    (folder / "train.py").write_text(TRAIN)
    core = "src/pkg/core.py"
    lines = [f"--- a/{core}", f"+++ b/{core}", "@@ -1 +1 @@", "-VALUE = 1.0", "+VALUE = 2.0", ""]
    (folder / "two.patch").write_text("\n".join(lines))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SWEEPKIT_RESULTS_DIR", str(tmp_path / "results"))
    monkeypatch.delenv("PYTHONPATH", raising=False)

    def make(kind: str, flags: str = "", has_level: bool = True) -> str:
        python = environment(tmp_path / kind, folder, kind)
        axes = "{idea: {two: {code: two.patch}}}" if has_level else "{on: [1]}"
        (folder / "sweeps" / "s.yaml").write_text(
            "question: Is two more?\n"
            f"command: [{python}, {flags}train.py, '{{run_dir}}', '{{seed}}', '{{on}}']\n"
            f"params: {{on: 0}}\nmetric: {{name: loss, read: result.json}}\naxes: {axes}\nseeds: [1]\n"
            "decision: {direction: lower, unit: x, min_effect: 0.1}\n"
        )
        return "s"

    return make


def resolved(name: str) -> Any:
    trees = code_levels.resolved(file.load(name), paths.results_dir()).trees
    assert trees is not None
    return trees


@pytest.mark.slow
@pytest.mark.parametrize("kind", [EDITABLE, PLAIN])
def test_a_level_changes_what_is_imported(kind: str, make: Make) -> None:
    name = make(kind)
    found = resolved(name)
    assert [item.path for item in (found.code.reference, *found.code.levels)] == [("src",), ("src",)]
    copy, command = found.folder / found.code.reference.tree, file.load(name).command
    live = command_imports.elsewhere(command, Path.cwd(), copy)
    assert list(live) == ["pkg"] and command_imports.elsewhere(command, Path.cwd(), copy, ["src"]) == {}
    if kind == PLAIN:
        return
    assert main(["sweep", name]) == 0
    runs = store.load(name, paths.results_dir()).set_index("variant")["loss"]
    assert dict(runs) == {"reference": 1.0, "idea=two": 2.0}
    logs = [path.read_text() for path in paths.results_dir().glob("runs/*/log.txt")]
    assert len(logs) == 2 and all("src first on PYTHONPATH" in text for text in logs)


@pytest.mark.slow
@pytest.mark.parametrize(
    "line",
    ['exec PYTHON train.py "$@"', '. HOME/bin/activate\npython train.py "$@"', 'PYTHON -I train.py "$@"'],
)
def test_a_shell_script_is_asked_for_its_imports(line: str, make: Make, tmp_path: Path) -> None:
    name = make(EDITABLE)
    place, path = tmp_path / EDITABLE, Path("sweeps/s.yaml")
    Path("run.sh").write_text(line.replace("PYTHON", f"{place}/bin/python").replace("HOME", str(place)))
    path.write_text(path.read_text().replace(f"[{place}/bin/python, train.py,", "[bash, run.sh,"))
    if "-I" in line:
        with pytest.raises(ConfigError, match="no level would change it"):
            resolved(name)
        return
    assert resolved(name).code.reference.path == ("src",)
    if "exec" in line:
        assert main(["sweep", name]) == 0
        runs = store.load(name, paths.results_dir()).set_index("variant")["loss"]
        assert dict(runs) == {"reference": 1.0, "idea=two": 2.0}


@pytest.mark.slow
def test_what_cannot_be_put_first_is_named(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    name = make(EDITABLE, "-I, ")
    with pytest.raises(ConfigError, match=r"imports pkg from .*/src/pkg/__init__\.py: no level would change"):
        resolved(name)
    name = make(EDITABLE, "-I, ", has_level=False)
    with pytest.warns(Notice, match=r"imports pkg from .*, which is not frozen"):
        found = resolved(name)
    assert found.code.reference.live[-1].endswith("src/pkg/__init__.py")
    assert main(["plan", f"sweep={name}"]) == 0
    assert "src/pkg/__init__.py" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "first", "scripts"),
    [
        (["env", "A=1", "PYTHON", "-u", "-W", "ignore", "train.py", "{x}"], ".", {}),
        (["PYTHON", "src/run.py"], "src", {}),
        (["PYTHON", "-m", "pkg.core"], ".", {}),
        (["env", "A=1", "./launch", "--n=2", "src/run.py", "--lr={x}"], "src", {"launch": "#!PYTHON\n"}),
        (["{x}", "PYTHON", "train.py"], None, {}),
        (["./run"], ".", {"run": "#!/bin/sh\nexec PYTHON -u train.py\n"}),
        (["env", "A=1", "bash", "-e", "run", "{x}"], "src", {"run": 'A=1 "PYTHON" "src/run.py" --lr=$1\n'}),
        (["sh", "-c", "cd . && PYTHON src/run.py $0", "{x}"], "src", {}),
        (["missing"], None, {}),
    ],
)
def test_the_python_of_a_command(
    command: list[str], first: str | None, scripts: dict[str, str], tmp_path: Path
) -> None:
    python = "/usr/bin/python3"
    for name, text in scripts.items():
        (tmp_path / name).write_text(text.replace("PYTHON", python))
        (tmp_path / name).chmod(0o755)
    words = [word.replace("PYTHON", python) for word in command]
    found = command_imports._pythons(words, tmp_path)
    assert bool(found) == (first is not None)
    if first is not None:
        asked, place = found[0]
        assert python in asked and place == tmp_path / first
        assert not set(asked) & {"train.py", "src/run.py", "-m"}


def test_a_program_that_is_not_installed_keeps_its_environment(tmp_path: Path) -> None:
    (tmp_path / "json.py").touch()  # a name that Python has too is no install of this folder
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "helper.py").touch()
    assert command_imports.modules(tmp_path) == {"json": ".", "lib": ".", "helper": "lib"}
    assert command_imports.elsewhere(["python3", "train.py"], tmp_path, tmp_path) == {}
    assert command_imports.in_environment({"A": "1"}, tmp_path, []) == {"A": "1"}
    assert os.pathsep not in command_imports.in_environment({}, tmp_path, ["src"])["PYTHONPATH"]
