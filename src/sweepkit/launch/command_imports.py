"""Where a command's own packages are imported from: its frozen copy, or the checkout that goes on changing.

An editable install puts a folder of the checkout on the path of its Python, a plain one copies the packages;
a command that is started in the frozen copy then imports what is installed. So its Python is asked, in
the environment that runs get. Folders of the copy that stand first on ``PYTHONPATH`` win over both, unless
the command tells its Python to ignore that.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sweepkit.code import children
from sweepkit.plan import command_files, command_words

_VARIABLE = "PYTHONPATH"
_PYTHON = re.compile(r"python(\d+(\.\d+)?)?")
_WITH_VALUE = ("-W", "-X")
_SHELL = re.compile(r"(ba|da|k|z)?sh")
#: In a shell's script: a Python with flags that change what it imports, and an environment.
_NAMED = re.compile(r"(?<![\w./~-])([\w./-]*\bpython[\d.]*)(?![\w./-])((?:[ \t]+-[IEsuBOqv]+)*)")
_ACTIVATED = re.compile(r"([\w./-]+)/bin/activate\b")
_Python = tuple[list[str], Path]  # the words that start it, and where it looks first
_INSTALLED = frozenset({"site-packages", "dist-packages"})
_PATIENCE_S, _MOST_NAMES, _DEEPEST = 30.0, 500, 3
#: Asks for top-level modules, which imports none of them; what is installed of a folder says so itself.
_QUESTION = """
import importlib.metadata, importlib.util, json, sys
first, names = json.load(sys.stdin)
if sys.path and sys.path[0] == "":
    sys.path[0] = first
found, sources = {}, {}
for name in names:
    try:
        spec = importlib.util.find_spec(name)
    except Exception:
        continue
    if spec is not None:
        places = [spec.origin] if spec.has_location else list(spec.submodule_search_locations or ())
        found[name] = places[:1]
if any("site-packages" in place or "dist-packages" in place for each in found.values() for place in each):
    of = importlib.metadata.packages_distributions()
    for name in found:
        for distribution in of.get(name, ()):
            text = importlib.metadata.distribution(distribution).read_text("direct_url.json")
            sources[name] = json.loads(text).get("url", "") if text else ""
print(json.dumps([found, sources]))
"""


def elsewhere(command: Sequence[str], folder: Path, tree: Path, path: Sequence[str] = ()) -> dict[str, str]:
    """Modules of a frozen copy that the command would import from the checkout → where.

    Args:
        command: its words, with placeholders.
        folder: that was frozen.
        tree: the copy.
        path: folders of the copy that stand first on ``PYTHONPATH``.
    """
    names = modules(tree)
    every = [_elsewhere(asked, list(names), folder, tree, path) for asked in _pythons(command, tree) if names]
    return {name: place for found in reversed(every) for name, place in found.items()}


def _elsewhere(
    asked: _Python, names: list[str], folder: Path, tree: Path, path: Sequence[str]
) -> dict[str, str]:
    words, first = asked
    given = json.dumps([str(first), names])
    environment = in_environment(os.environ, tree, path)
    try:
        done = children.ask([*words, "-c", _QUESTION], _PATIENCE_S, given, cwd=tree, env=environment)
        found, sources = json.loads(done.out.splitlines()[-1])
    except (OSError, ValueError, IndexError):
        return {}  # it cannot be asked, and will say so itself when it runs
    live = Path(os.path.realpath(folder))
    return {
        name: place for name, places in found.items() for place in places
        if place and _is_elsewhere(Path(os.path.realpath(place)), live, tree, sources.get(name))
    }  # fmt: skip


def in_environment(given: Mapping[str, str], tree: Path, path: Iterable[str]) -> dict[str, str]:
    """An environment with folders of the copy first on ``PYTHONPATH``."""
    first = [str(tree / root) for root in path]
    before = [given[_VARIABLE]] if given.get(_VARIABLE) else []
    return dict(given) | ({_VARIABLE: os.pathsep.join([*first, *before])} if first else {})


def modules(tree: Path) -> dict[str, str]:
    """Top-level module → the folder of the copy that it lies in (``.``, ``src``)."""
    found: dict[str, str] = {}
    for path in command_files.sources(tree):
        parts = path.relative_to(tree).parts
        if path.suffix != ".py" or len(found) >= _MOST_NAMES:
            continue
        for depth, part in enumerate(parts[: _DEEPEST + 1]):
            name = part.removesuffix(".py")
            if name.isidentifier() and name != "__init__":
                found.setdefault(name, "/".join(parts[:depth]) or ".")
            if (tree.joinpath(*parts[: depth + 1]) / "__init__.py").is_file():
                break  # what lies deeper is the package's
    return found


def _is_elsewhere(place: Path, folder: Path, tree: Path, source: str | None) -> bool:
    if place.is_relative_to(os.path.realpath(tree)):
        return False
    if _INSTALLED.intersection(place.parts):
        url = urllib.parse.urlsplit(source or "")
        made_of = os.path.realpath(urllib.parse.unquote(url.path))  # a blank is %20 there
        return url.scheme == "file" and Path(made_of).is_relative_to(folder)
    return place.is_relative_to(folder)


def _pythons(command: Sequence[str], tree: Path) -> list[_Python]:
    """Those that a command starts: one that it names, or those that its script does."""
    words = list(command)
    place = next((at for at, word in enumerate(words) if _PYTHON.fullmatch(Path(word).name)), None)
    if place is None:
        return _of_script(words, tree)
    end = place + 1
    while end < len(words) and words[end].startswith("-") and words[end] not in ("-m", "-c", "-"):
        end += 2 if words[end] in _WITH_VALUE else 1
    before = words[:end]
    if any(command_words.placeholders([word]) for word in before):
        return []
    return [(before, _first(words[end : end + 1], tree))]


def _of_script(words: Sequence[str], tree: Path) -> list[_Python]:
    """Of torchrun, accelerate and their like, which name their Python in the first line; and of shells."""
    before = 0
    if words and Path(words[0]).name == "env":
        before = next((at for at, word in enumerate(words) if at and "=" not in word), len(words))
    if before >= len(words) or command_words.placeholders(words[: before + 1]):
        return []
    if _SHELL.fullmatch(Path(words[before]).name):
        return _of_shell(words[:before], words[before + 1 :], tree)
    script = shutil.which(str(tree / words[before]) if "/" in words[before] else words[before])
    with contextlib.suppress(OSError, TypeError):
        with Path(str(script)).open("rb") as file:
            line = file.readline(500).decode(errors="replace").strip()
        interpreter = line.removeprefix("#!").split() if line.startswith("#!") else []
        if interpreter and _PYTHON.fullmatch(Path(interpreter[-1]).name):
            own = [word for word in words[before + 1 :] if word.endswith(".py")][:1]
            return [([*words[:before], *interpreter], _first(own, tree))]
        if any(_SHELL.fullmatch(Path(word).name) for word in interpreter):
            return _of_shell(words[:before], [str(script)], tree)
    return []


def _of_shell(before: Sequence[str], arguments: Sequence[str], tree: Path) -> list[_Python]:
    """All that the text of a shell's script names, also by their environment, and the first on the path."""
    text = ""
    if "-c" in arguments:
        text = arguments[arguments.index("-c") + 1] if arguments[-1] != "-c" else ""
    elif script := next((word for word in arguments if not word.startswith("-")), None):
        with contextlib.suppress(OSError):
            text = (tree / script).read_text(errors="replace")
    named = [[name, *flags.split()] for name, flags in _NAMED.findall(text)]
    named += [[f"{place}/bin/python"] for place in _ACTIVATED.findall(text)]
    named += [["python3"]]
    first = _first(
        [word.strip("\"'") for word in text.split() if word.endswith((".py", '.py"', ".py'"))][:1], tree
    )
    return [([*before, *words], first) for place, words in enumerate(named) if words not in named[:place]]


def _first(script: Sequence[str], tree: Path) -> Path:
    """The folder of the script; of a module where it is started."""
    for word in script:
        if word.endswith(".py") and not command_words.placeholders([word]):
            return (tree / word).parent
    return tree
