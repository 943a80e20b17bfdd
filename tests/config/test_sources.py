"""The digest of the code that computes: numbers may not change without it, words may."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sweepkit
from sample import sample
from sweepkit.config import sources

PACKAGE = Path(sweepkit.__file__).resolve().parent
ROOMS = [part for part in sources.PARTS if not part.endswith(".py")]


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWEEPKIT_CACHE_DIR", str(tmp_path / "cache"))
    ignored = shutil.ignore_patterns("__pycache__", "corpus")
    return shutil.copytree(PACKAGE, tmp_path / "sweepkit", ignore=ignored)


def files() -> list[str]:
    return sorted(
        path.relative_to(PACKAGE).as_posix()
        for part in sources.PARTS
        for path in sources._files(PACKAGE / part)
        if path.stat().st_size > 300  # with code in it
    )


def test_every_room_that_computes_has_files_here() -> None:
    assert {name.split("/")[0] for name in files()} >= set(ROOMS)


@pytest.mark.parametrize("name", sample(files(), 6))
def test_an_edit_to_any_file_is_another_digest_and_words_are_none(name: str, copy: Path) -> None:
    before = sources.digest_of(copy)
    path = copy / name
    text = path.read_text()
    path.write_text(text + "\n\n# a remark\n")
    assert sources.digest_of(copy) == before
    path.write_text(text.replace('"""', '"""Other words. ', 1))
    assert sources.digest_of(copy) == before
    path.write_text(text + "\n_MORE = 1\n")
    assert sources.digest_of(copy) != before
    path.write_text(text)
    assert sources.digest_of(copy) == before


def test_the_files_that_there_are_count(copy: Path) -> None:
    before = sources.digest_of(copy)
    (copy / "model" / "swiglu.py").write_text("x = 1\n")
    added = sources.digest_of(copy)
    (copy / "model" / "swiglu.py").rename(copy / "model" / "another.py")
    assert len({before, added, sources.digest_of(copy)}) == 3
    (copy / "model" / "another.py").rename(copy / "report" / "another.py")  # computes nothing
    assert sources.digest_of(copy) == before


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("x = 1", "x = 2"),
        ("x = 1", "x = 1.0"),
        ("x = 1", "x = '1'"),
        ("x = None", "x = False"),
        ("f(a)(b)", "f(a, b)"),
        ("f([a], b)", "f([a, b])"),
        ("def f(): return", "def f(): return None"),
        ("def f(x, *, y): pass", "def f(x, y): pass"),
        ("class A:\n x: int = 1", "class A:\n x = 1"),
        ("if a:\n b()\n c()", "if a:\n b()\nc()"),
        ("x = a - (b - c)", "x = a - b - c"),
        ("x = 'in no docstring'", "x = 'another'"),
        ("def f():\n x = 1\n 'no docstring'", "def f():\n x = 1"),
        ("a = b = 0", "a, b = 0"),
        ("for x in y: pass", "async def f(): pass"),
        ("x = f'{a}'", "x = f'{a!r}'"),
        ("return_ = x if y else z", "return_ = y if x else z"),
        ("x[1:]", "x[:1]"),
        ("lambda x=1: x", "lambda x: x"),
        ("f(*a)", "f(**a)"),
    ],
)
def test_trees_that_differ_have_digests_that_differ(one: str, other: str) -> None:
    assert sources.tree_digest(one.encode()) != sources.tree_digest(other.encode())


def test_layout_comments_and_docstrings_are_no_code() -> None:
    plain = b'class A:\n    def f(self, x):\n        return x + "#"\n'
    worded = (
        b'"""M."""\nclass A:\n  "A."\n  def f(self,\n    x):  # why\n    """F."""\n    return (x + \'#\')\n'
    )
    assert sources.tree_digest(plain) == sources.tree_digest(worded)


def test_a_damaged_memory_is_not_believed(copy: Path, tmp_path: Path) -> None:
    before = sources.digest_of(copy)
    (memory,) = (tmp_path / "cache" / "sources").iterdir()
    for damage in (memory.read_text().replace(before, "0" * 16), "", "[]", '{"digest": 1, "of": null}'):
        memory.write_text(damage)
        assert sources.digest_of(copy) == before


def test_a_digest_that_is_remembered_costs_no_parsing(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sources.digest_of(copy)
    monkeypatch.setattr(sources, "tree_digest", lambda source: pytest.fail("parsed again"))
    started = time.process_time()
    assert sources.digest_of(copy) == before
    assert time.process_time() - started < 0.05


def test_it_is_the_same_in_every_process_and_imports_no_torch() -> None:
    code = (
        "import sys; from sweepkit.config import sources; print(sources.digest());"
        "assert 'torch' not in sys.modules"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert found.strip() == sources.digest()
