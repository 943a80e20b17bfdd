"""Patches: what is refused in one line, what is left out, and the difference of two trees as git reads it."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sample
from sweepkit.code import git, patch
from sweepkit.errors import ConfigError

_HUNK = "@@ -0,0 +1 @@\n+x\n"


def _new(path: str, mode: str = "100644") -> str:
    return f"diff --git a/{path} b/{path}\nnew file mode {mode}\n--- /dev/null\n+++ b/{path}\n{_HUNK}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_new("src/sweepkit/x.py", "120000"), "symbolic link"),
        (_new("src/sweepkit/x", "160000"), "submodule"),
        ("diff --git a/conf/x b/conf/x\nGIT binary patch\nliteral 1\nIcmZ\n", "binary patch"),
        ("diff --git a/conf/x b/conf/x\nBinary files a/conf/x and b/conf/x differ\n", "binary patch"),
        (_new("pyproject.toml") + _new("conf/x.yaml"), "dependencies"),
        (_new("docs/x.md"), "change a file of src/sweepkit/ and conf/"),
        (_new("../x.py"), "without .."),
        (_new("src/sweepkit/../../x.py"), "without .."),
        ("hello\n", "be a patch"),
        ("", "be a patch"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        patch.touched("axes.idea.x", text.encode())
    assert "\n" not in str(caught.value)


def test_an_absolute_path_is_refused() -> None:
    text = f"--- /etc/x\n+++ /etc/x\n{_HUNK}"
    with pytest.raises(ConfigError):
        patch.touched("axes.idea.x", text.encode())


def test_files_elsewhere_are_left_out() -> None:
    text = _new("conf/model/x.yaml") + _new("tests/test_x.py") + _new("src/sweepkit/odd name.py")
    found = patch.touched("axes.idea.x", text.encode())
    assert found.files == {"conf/model/x.yaml": (1, 0), "src/sweepkit/odd name.py": (1, 0)}
    assert found.left_out == ("tests/test_x.py",)


def _laid_out(folder: Path, files: dict[str, str]) -> Path:
    for part in ("src/sweepkit", "conf"):
        (folder / part).mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content.encode())
    return folder


def test_one_that_does_not_apply_names_the_place(tmp_path: Path) -> None:
    work = _laid_out(tmp_path / "a", {"src/sweepkit/a.py": "one\n"})
    text = "--- a/src/sweepkit/a.py\n+++ b/src/sweepkit/a.py\n@@ -1 +1 @@\n-two\n+three\n"
    with pytest.raises(ConfigError, match=r"src/sweepkit/a\.py:1.*rebase"):
        patch.apply("axes.idea.x (x.patch)", text.encode(), work, "the code that runs here")
    assert (work / "src/sweepkit/a.py").read_text() == "one\n"


_TEXTS = st.text(alphabet=string.ascii_letters + " \n\n\n\t\r\x0c é@+-\\", max_size=60)
_FILES = st.dictionaries(
    st.sampled_from(["src/sweepkit/a.py", "src/sweepkit/b c.py", "conf/é.yaml"]), _TEXTS, max_size=3
)


@given(old=_FILES, new=_FILES)
@settings(max_examples=200 if sample.is_full() else 15)
def test_git_makes_the_one_of_the_other(
    old: dict[str, str], new: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("trees")
    before, after = _laid_out(folder / "old", old), _laid_out(folder / "new", new)
    text = patch.between(before, after)
    assert bool(text) is (old != new)
    if not text:
        return
    git.run(before, "apply", "--whitespace=nowarn", "-", given=text.encode(), ceiling=True)
    assert patch.between(before, after) == ""
    wanted = git.run(folder, "apply", "--numstat", "-z", "-", given=text.encode(), ceiling=True).decode()
    counted = [item.split("\t") for item in wanted.split("\0") if item]
    assert patch.counts(text) == {path: (int(added), int(gone)) for added, gone, path in counted}
