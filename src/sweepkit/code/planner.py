"""Who makes configurations and plans: this process, or a frozen tree in a process of its own.

A branch may change what a model has and what a step costs, so a plan is made by the code that will run it.
A tree's process is started once and asked over its standard input (``answering.py``); what it answers is
read as ours, so that a tree whose plans are not ours is refused by the name of what differs.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

import sweepkit
from sweepkit import fsio
from sweepkit.code import answering, children, tree
from sweepkit.code.levels import Code
from sweepkit.config import compose, override, typed
from sweepkit.config.schema import RunConfig
from sweepkit.errors import ConfigError, SweepkitError
from sweepkit.plan import build
from sweepkit.plan.run_plan import RunPlan

#: The field that names a tree.
FIELD = "code"
_END_S = 5.0
Kind = TypeVar("Kind")


class Planner(Protocol):
    """Makes configurations of overrides, and plans of configurations."""

    def compose(self, overrides: Sequence[str]) -> RunConfig: ...
    def build(self, config: RunConfig) -> RunPlan: ...


class Here:
    """This process's own code, which may be a tree."""

    def compose(self, overrides: Sequence[str]) -> RunConfig:
        return compose.compose(overrides)

    def build(self, config: RunConfig) -> RunPlan:
        plan = build.build(config)
        return plan if tree.here() is None else _of_tree(plan, Path(sweepkit.__file__).resolve().parents[1])


@dataclass(frozen=True)
class Trees:
    """The frozen code of a sweep.

    Attributes:
        folder: that all trees are in.
        code: which there are; the reference's is that of all that name no other.
    """

    folder: Path
    code: Code

    def planner(self, own: Iterable[str] = ()) -> Planner:
        """What plans runs with these overrides."""
        return self.of(named(own) or self.code.reference.tree)

    def of(self, name: str) -> Planner:
        """What plans the runs of a tree."""
        return Here() if name == tree.here() else _of(tree.find(self.folder, name))


def planner(trees: Trees | None, own: Iterable[str] = ()) -> Planner:
    """``Trees.planner``, and this process's code where a sweep names none."""
    return Here() if trees is None else trees.planner(own)


def named(overrides: Iterable[str]) -> str | None:
    """The code that overrides name; the last one counts. A commit may look like a number, as 4803e27 does."""
    found = [override.parse(item) for item in overrides if item.partition("=")[0] == FIELD]
    if not found or found[-1].value is None:
        return None
    return found[-1].value if isinstance(found[-1].value, str) else found[-1].text


def _of_tree(plan: RunPlan, folder: Path) -> RunPlan:
    """A plan that says whose it is; where rows are made in another way, they are no pair's."""
    apart = tree.note(folder).get("cache")
    pair_key = fsio.digest([plan.pair_key, apart])[: len(plan.pair_key)] if apart else plan.pair_key
    return dataclasses.replace(plan, tree=folder.name, pair_key=pair_key)


@functools.cache
def _of(folder: Path) -> _Asked:
    """The process of a tree; there is one for as long as this process lives."""
    return _Asked(folder)


def _is_answer(line: str) -> bool:
    """Whether it is none of what a tree prints while it is imported."""
    with contextlib.suppress(ValueError):
        found = json.loads(line)
        return isinstance(found, dict) and not found.keys().isdisjoint(("answer", "error"))
    return False


class _Asked:
    """Asks a tree's own process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self._lines: queue.Queue[str] = queue.Queue()
        self._errors: IO[bytes] | None = None
        self._lock = threading.Lock()
        self._answers: dict[str, Any] = {}  # a sweep is expanded more than once
        self._plans: dict[str, RunPlan] = {}

    def compose(self, overrides: Sequence[str]) -> RunConfig:
        """As ``compose.compose``, with the tree's schema and files."""
        question = {"compose": list(overrides)}
        key = json.dumps(question)
        if key not in self._answers:
            self._answers[key] = self._ask(question)
        return _read(RunConfig, self._answers[key], self._name)

    def build(self, config: RunConfig) -> RunPlan:
        """As ``build.build``; the plan says which tree it is of."""
        question = {"build": typed.dump(config)}
        key = json.dumps(question)
        if key in self._plans:
            return self._plans[key]
        plan = _of_tree(_read(RunPlan, self._ask(question), self._name), self._folder)
        if None not in plan.texts.values():  # else it is asked again when the hub has said
            self._plans[key] = plan
        return plan

    @property
    def _name(self) -> str:
        text = tree.note(self._folder).get("text")
        return f"code {text}" if text else f"code {self._folder.name}"

    def _ask(self, question: dict[str, Any]) -> Any:
        with self._lock:
            process = self._process or self._start()
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.write(json.dumps(question) + "\n")
                process.stdin.flush()
            try:
                line = self._lines.get(timeout=children.PATIENCE_S)
            except queue.Empty:
                line = ""
            except BaseException:  # Ctrl-C
                self._end(patience_s=0)
                raise
        if not line:
            self._end()
            raise SweepkitError(f"{self._name} does not plan ({self._last_words()}); correct it")
        found = json.loads(line)
        if "error" in found:
            kinds = {kind.__name__: kind for kind in answering.KINDS}
            raise kinds[found["kind"]](found["error"])
        return found["answer"]

    def _start(self) -> subprocess.Popen[str]:
        self._lines = queue.Queue()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - for as long as the process
        command = [python(self._folder), "-m", "sweepkit.code.answering"]
        self._process = process = subprocess.Popen(
            command,
            env=os.environ | tree.environment(self._folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            errors="replace",
            start_new_session=True,  # is ended with all that it starts
        )
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()
        atexit.register(self._end)
        return process

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if _is_answer(line):
                self._lines.put(line)
        self._lines.put("")

    def _end(self, patience_s: float = _END_S) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(OSError):
            assert process.stdin is not None
            process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience_s)
        children.kill(process)

    def _last_words(self) -> str:
        if self._errors is None:
            return "it said nothing"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it ended, or took too long, without a word"


def _read(kind: type[Kind], value: object, name: str) -> Kind:
    try:
        return typed.load(kind, value)
    except ConfigError as error:
        raise SweepkitError(
            f"{name} plans in another schema than this one ({error}), but must be read here; make the change "
            "without a new field or choice, or add that to the reference first"
        ) from error


def python(folder: Path) -> str:
    """The interpreter of a tree: this one, or that of an environment it brought along."""
    own = tree.note(folder).get("python")
    return str(own) if own else sys.executable
