"""The digest of the code that computes: numbers may not change without it, words may."""

from __future__ import annotations

import ast
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


#: What the files in the digest import from elsewhere in the package. An edit there changes no number, or what
#: it changes stands in a run's identity (as it comes out in the plan), or in what a verdict compares.
ELSEWHERE = {
    "names, types and messages": (
        "config/choices.py", "errors.py", "exit_status.py", "printable.py", "sweep/metric.py",
    ),
    "what is asked, and in the identity": (
        "config/compose.py", "config/cross_checks.py", "config/dtype_override.py", "config/facts.py",
        "config/schema.py", "config/schema_core.py", "plan/build.py", "plan/run_plan.py", "plan/sizing.py",
        "sweep/expand.py",
    ),
    "what a record says of where and on what it was made": (
        "config/commits.py", "config/measured.py", "config/sources.py", "results/conditions.py",
        "results/places.py", "results/record.py",
    ),
    "files: where, how they are kept and sealed": (
        "config/paths.py", "config/typed.py", "config/variables.py", "fsio.py", "patience.py",
        "results/diagnosed.py", "results/document_losses.py", "results/progress.py", "sealed.py",
    ),
    "checks and estimates before a run": (
        "plan/cost.py", "plan/epochs.py", "plan/text_column.py", "plan/world.py",
    ),
}  # fmt: skip


def test_what_computes_asks_no_file_that_nobody_looked_at() -> None:
    """A room that comes to read text by another file, say, has that file in the digest."""
    inside = {path for part in sources.PARTS for path in sources._files(PACKAGE / part)}
    used = {found for path in inside for found in imported(path)} - inside
    named = {PACKAGE / name for names in ELSEWHERE.values() for name in names}
    assert {str(path.relative_to(PACKAGE)) for path in used ^ named} == set()


def imported(path: Path) -> list[Path]:
    """The modules of the package that a file imports when it runs, not for types alone."""
    tree = ast.parse(path.read_bytes())
    of_types = {
        id(inside)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inside in ast.walk(node)
    }
    names = [
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and id(node) not in of_types
        for name in (node.module, *(f"{node.module}.{item.name}" for item in node.names))
    ]
    places = [PACKAGE.parent / f"{name.replace('.', '/')}.py" for name in names]
    return [place for place in places if place.is_relative_to(PACKAGE) and place.exists()]


@pytest.mark.slow
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


@pytest.mark.slow
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
