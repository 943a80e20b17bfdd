"""Patches in every form that tools write: applied as git would, or refused with the reason and a remedy."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from code_repository import Repository
from hypothesis import given, settings
from hypothesis import strategies as st

import sample
from sweepkit.code import patch, unread
from sweepkit.code.making import Made
from sweepkit.errors import ConfigError

_FILE = "src/sweepkit/a.py"


def _crlf(text: bytes) -> bytes:
    return text.replace(b"\n", b"\r\n")


#: Form → what makes it of a patch, and what is said of it; None where it is applied.
FORMS: dict[str, tuple[Callable[[bytes], bytes], str | None]] = {
    "as git writes it": (lambda text: text, None),
    "with a mark": (lambda text: b"\xef\xbb\xbf" + text, None),
    "in a mail": (lambda text: b"From: a\nSubject: [PATCH] x\n\n---\n" + text + b"-- \n2.39.5\n\n", None),
    "with other prefixes": (lambda text: text.replace(b" a/", b" i/").replace(b" b/", b" w/"), None),
    "without prefixes": (
        lambda text: re.sub(rb"(?m)^(diff.* |--- |\+\+\+ )[ab]/", rb"\1", text.replace(b" a/", b" ")),
        "without the prefixes.*diff.noprefix=false",
    ),
    "without prefixes, of diff -u": (
        lambda text: re.sub(rb"(?m)^(--- |\+\+\+ )[ab]/", rb"\1", re.sub(rb"(?m)^diff.*\n", b"", text)),
        r"is \['sweepkit/a\.py'\].*write it with git diff in the checkout",
    ),
    "in UTF-16": (lambda text: text.decode().encode("utf-16"), "UTF-16.*git diff --output"),
    "in colours": (lambda text: b"\x1b[1m" + text.replace(b"\n", b"\x1b[m\n"), "colours.*--output"),
    "encoded": (lambda text: b"Content-Transfer-Encoding: base64\n\n" + text, "encoded.*format-patch"),
    "with files left out": (lambda text: text + b"Only in new/src/sweepkit: b.py\n", "diff -ruN"),
    "with a cache left out": (lambda text: text + b"Only in new/src/sweepkit: __pycache__\n", None),
    "normal": (lambda text: b"1c1\n< a\n---\n> b\n", "other form than unified"),
    "empty": (lambda text: b"\n", "an empty file"),
    "cut off": (
        lambda text: text[: text.index(b"\n@@")] + b"\n@@ -1,3 +1,3 @@\n a\n",
        "be a patch.*git diff",
    ),
}


@pytest.mark.parametrize("form", FORMS)
@given(
    old=st.lists(st.sampled_from(["a", "b", " c", "é", ""]), min_size=1, max_size=12),
    new=st.lists(st.sampled_from(["a", "b", " c", "é", ""]), min_size=1, max_size=12),
)
@settings(max_examples=40 if sample.is_full() else 4)
def test_every_form_is_applied_as_it_is_meant_or_refused(
    form: str, old: list[str], new: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    make, said = FORMS[form]
    before, after = ("\n".join([*lines, ""]).encode() for lines in (old, [*new, "an end"]))
    change = patch.of_texts({_FILE: before}, {_FILE: after}).encode()
    work = tmp_path_factory.mktemp("work")
    (work / _FILE).parent.mkdir(parents=True)
    (work / _FILE).write_bytes(before)

    def put() -> None:
        content = unread.without_mark(make(change))
        patch.touched("axes.idea.x", content)
        patch.apply("axes.idea.x", content, work, "the code that runs here")

    if said:
        with pytest.raises(ConfigError, match=said):
            put()
        assert (work / _FILE).read_bytes() == before
        return
    put()
    assert (work / _FILE).read_bytes() == after
    with pytest.raises(ConfigError, match=r"has it already.*leave the level out"):
        put()


@pytest.mark.parametrize(
    ("change", "file", "said"),
    [
        (_crlf, bytes, "lines in LF, where the patch has CRLF.*sed -i"),
        (bytes, _crlf, "other blanks or ends of lines.*git diff --output"),
        (_crlf, _crlf, None),
    ],
)
def test_ends_of_lines_that_differ_are_named(
    change: Callable[[bytes], bytes], file: Callable[[bytes], bytes], said: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "a.py"
    path.write_bytes(file(b"a\nb\nc\n"))
    content = change(patch.of_texts({"a.py": b"a\nb\nc\n"}, {"a.py": b"a\nB\nc\n"}).encode())
    if said:
        with pytest.raises(ConfigError, match=said):
            patch.apply("axes.idea.x", content, tmp_path, "the program")
    else:
        patch.apply("axes.idea.x", content, tmp_path, "the program")
        assert path.read_bytes() == file(b"a\nB\nc\n")


@pytest.mark.parametrize(
    ("moved", "said"),
    [
        ((_FILE, "src/sweepkit/z.py"), None),
        ((_FILE, "docs/z.py"), r"a\.py → docs/z\.py.*--no-renames"),
        (("docs/d.md", "conf/d.md"), r"docs/d\.md → conf/d\.md.*--no-renames"),
        (("docs/d.md", "docs/e.md"), None),
    ],
)
def test_files_that_move(
    moved: tuple[str, str], said: str | None, repository: Repository, level: Callable[[str], Made]
) -> None:
    old, new = moved
    for name in (_FILE, "docs/d.md", "conf/x.yaml"):
        repository.commit(name, name, "a\nb\nc\nd\n")
    repository.git("mv", old, new)
    repository.write("conf/x.yaml", "other\n")
    repository.git("add", "-A")
    text = repository.git("diff", "--cached", "-M")
    repository.git("reset", "-q", "--hard")
    Path("moved.patch").write_text(f"{text}\n")
    if said:
        with pytest.raises(ConfigError, match=said):
            level("moved.patch")
    else:
        made = level("moved.patch").work
        inside = [path for path in (old, new) if patch.is_inside(path)]
        assert [(made / path).exists() for path in inside] == [False, True][: len(inside)]


def test_commits_and_folders_are_patches(
    repository: Repository, tmp_path: Path, level: Callable[[str], Made]
) -> None:
    """A mailbox of several commits of one file, and what diff writes of two folders."""
    start = repository.commit("a", _FILE, "a\nb\nc\n")
    repository.commit("first", _FILE, "a\nB\nc\n")
    repository.commit("second", _FILE, "a\nBB\nc\nd\n")
    for name in (start, "main"):
        repository.git("worktree", "add", "-q", "--detach", str(tmp_path / name), name)
    text = repository.git("format-patch", "--stdout", start)
    Path("commits.mbox").write_text(f"{text}\n")
    different = subprocess.run(["diff", "-ruN", "-x.git", start, "main"], capture_output=True, check=False)
    Path("folders.diff").write_bytes(different.stdout)
    repository.git("reset", "-q", "--hard", start)
    for name in ("commits.mbox", "folders.diff"):
        assert (level(name).work / _FILE).read_text() == "a\nBB\nc\nd\n"
