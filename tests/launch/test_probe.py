"""What a tree is asked before anything starts: that it imports, and that its plans and records are ours."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from launch_fakes import make_plan

from sweepkit import fsio
from sweepkit.code import children, planner, tree
from sweepkit.errors import SweepkitError
from sweepkit.launch import probe


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """This package as a tree, which imports no torch when it is asked."""
    tree.copy_here(tmp_path / "work")
    (tmp_path / "work/src").rename(tmp_path / "tree")
    (tmp_path / "work/conf").rename(tmp_path / "tree/conf")
    asked = tmp_path / "tree/sweepkit/launch/probe.py"
    asked.write_text(asked.read_text().replace('"sweepkit.training.session", ', ""))
    return tmp_path / "tree"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_tree_like_this_one_is_taken_and_asked_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsio.write_json(folder / tree.NOTE, {"text": "an idea"})
    probe.check("an idea", folder)
    assert probe.sources_of(folder)
    monkeypatch.setattr(probe, "_ask", lambda text, folder: pytest.fail("asked again"))
    probe.check("an idea", folder)


def test_a_field_of_its_own_is_named(folder: Path) -> None:
    edit(
        folder / "sweepkit/config/schema.py",
        "    code: Optional[str] = fact(",
        '    idea: bool = fact(False, "new")\n    code: Optional[str] = fact(',
    )
    with pytest.raises(SweepkitError, match=r"code an idea has another plan schema \(has idea\)"):
        probe.check("an idea", folder)


def test_one_that_does_not_import_names_the_place(folder: Path) -> None:
    edit(
        folder / "sweepkit/launch/job.py",
        "import threading\n",
        "import threading\nimport nothing_of_the_kind\n",
    )
    with pytest.raises(
        SweepkitError, match=r"code an idea does not import \(ModuleNotFoundError.*launch/job\.py"
    ):
        probe.check("an idea", folder)


def test_what_it_prints_while_it_is_imported_is_no_answer(folder: Path) -> None:
    said = "import os; print('{\"a\": 1}'); os.write(1, bytes(range(128, 256))); print('no end', end='')\n"
    path = folder / "sweepkit/plan/build.py"
    path.write_text(path.read_text() + said)
    asked = planner._Asked(folder)
    try:
        assert asked.compose(["experiment=mini", "model=d2"]).model.depth == 2
        with pytest.raises(SweepkitError, match=r"nothing"):
            asked.compose(["experiment=nothing"])
    finally:
        asked._end()


def test_rows_that_are_made_in_another_way_are_no_pairs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPKIT_CACHE_DIR", str(tmp_path / "cache"))
    fsio.write_json(folder / tree.NOTE, {"cache": "ab12"})
    plan = replace(make_plan("a"), pair_key="0123456789ab")
    found = planner._of_tree(plan, folder)
    assert found.tree == folder.name and found.pair_key != plan.pair_key
    assert re.fullmatch(r"[0-9a-f]{12}", found.pair_key)
    own = tree.worker_environment(folder)["SWEEPKIT_CACHE_DIR"]
    assert own == str(tmp_path / "cache/code/ab12")
    assert (Path(own) / "data/downloads").readlink() == tmp_path / "cache/data/downloads"


def _imported(folder: Path) -> None:
    probe.check("an idea", folder)


def _asked(folder: Path) -> None:
    planner._Asked(folder).compose([])


@pytest.mark.parametrize("ask", [_imported, _asked])
@pytest.mark.parametrize("is_interrupted", [False, True])
def test_one_that_hangs_is_given_up_with_all_that_it_started(
    ask: Callable[[Path], None],
    is_interrupted: bool,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a while, or at once by Ctrl-C."""
    started = tmp_path / "started"
    hang = f"open({str(started)!r}, 'w').write(str(subprocess.Popen(['sleep', '600']).pid)); time.sleep(600)"
    init = folder / "sweepkit/__init__.py"
    init.write_text(f"{init.read_text()}import subprocess, time\n{hang}\n")
    monkeypatch.setattr(children, "PATIENCE_S", 600.0 if is_interrupted else 2.0)
    monkeypatch.setattr(children, "_LAST_WORDS_S", 60.0)  # as long as a busy machine takes

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    begin = time.monotonic()
    try:
        if is_interrupted:
            signal.setitimer(signal.ITIMER_REAL, 2.0)
        with pytest.raises(KeyboardInterrupt if is_interrupted else SweepkitError) as caught:
            ask(folder)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - begin < 300, "half of what it would sleep"
    if ask is _imported and not is_interrupted:
        assert "no end after 2 s" in str(caught.value)
    if started.exists() and started.read_text():  # on a busy machine it was given up before
        if ask is _imported and not is_interrupted:
            assert "sweepkit/__init__.py" in str(caught.value)
        with pytest.raises(ProcessLookupError):
            os.kill(_ended(int(started.read_text())), 0)


def _ended(pid: int) -> int:
    """The process, once whoever inherits it has had the time to see its end."""
    for _ in range(50):
        if not Path(f"/proc/{pid}").exists():
            break
        time.sleep(0.1)
    return pid
