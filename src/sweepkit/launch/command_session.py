"""Carrying out a command: start it, follow it, stop it, and say in the run's record how it ended.

What ``training.session.Session`` is to our own trainer. The command runs in a process group of its own, which
ends with this process; it prints into the run's log, and writes what it likes into ``{run_dir}``, the folder
``output`` in the run's. Asked to stop it gets SIGTERM and some time. One that goes on by itself
(``resume: true``) finds its folder as it left it; any other starts in an empty one.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

from sweepkit import exit_status, fsio
from sweepkit.code import children
from sweepkit.errors import SweepkitError, invalid
from sweepkit.launch import cgroup, command_imports, command_result, machine
from sweepkit.launch.command_result import Curve, NoResult
from sweepkit.plan import command_files, command_words
from sweepkit.plan.command_plan import CommandPlan
from sweepkit.results.record import FailureClass, RunDir, RunRecord, RunState
from sweepkit.training.journal import Journal

#: The folder of the run's that is ``{run_dir}``, and the same as an environment variable.
OUTPUT, VARIABLE = "output", "SWEEPKIT_RUN_DIR"
_STATE = "ended.json"
_POLL_S = 0.1
#: From SIGTERM to SIGKILL: for a checkpoint, or just to end.
_CHECKPOINT_GRACE_S, _GRACE_S = 60.0, 10.0
_NOT_FOUND = (126, 127)  # as a shell says that there is no such command, or that it may not be run
_TAIL_BYTES = 16_384
_OUT_OF_MEMORY = re.compile(
    r"out of memory|OutOfMemoryError|MemoryError|Cannot allocate memory", re.IGNORECASE
)
#: What would make a command believe that it is one of our ranks.
_OF_RANKS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


class CommandSession:
    """Runs commands, one at a time.

    Args:
        concurrency: runs that this machine may train at a time, for the record.
    """

    def __init__(self, concurrency: int | None = None) -> None:
        self._concurrency = concurrency

    def run(
        self,
        plan: CommandPlan,
        run_dir: RunDir,
        attempt: int,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> RunRecord:
        """Have the command run; its record, ``preempted`` where it was stopped before it was done."""
        journal = Journal(cast(Any, plan), run_dir, attempt)
        record = journal.record
        self._describe(record, plan)
        journal.begin()
        output = run_dir.path / OUTPUT
        try:
            if (before := _ended_in_order(run_dir)) is not None:
                with contextlib.suppress(NoResult):
                    _read(record, plan, output, run_dir, before)
                    journal.say("it had ended in order before; its result was read again")
                    return record
            if not plan.program.resume:
                shutil.rmtree(output, ignore_errors=True)
            output.mkdir(parents=True, exist_ok=True)
            command_files.check(plan.program)
            _run(journal, plan, run_dir, output, should_stop)
        except KeyboardInterrupt:
            record.state = RunState.preempted
        except NoResult as error:
            _failed(record, FailureClass.no_result, str(error))
        except (SweepkitError, OSError) as error:
            _failed(record, FailureClass.of(error), str(error))
        finally:
            journal.end()
        return record

    def evaluate(
        self, plan: CommandPlan, run_dir: RunDir, should_stop: Callable[[], bool] = lambda: False
    ) -> RunRecord:
        """Never asked for: how a result is read is part of a command's name."""
        raise AssertionError(f"{plan.run_id} is evaluated by its command")

    def _describe(self, record: RunRecord, plan: CommandPlan) -> None:
        gpus = machine.gpu_kinds(plan.device)
        environment = record.environment
        environment.sources = plan.program.code
        environment.host, environment.platform = os.uname().nodename, os.uname().sysname
        environment.cpu, environment.num_cpus = _processor(), os.cpu_count()
        environment.hardware = gpus[0].name if gpus else environment.cpu
        environment.concurrency = self._concurrency
        record.environment_fingerprint = fsio.digest([environment.hardware])[:16]


def _run(
    journal: Journal, plan: CommandPlan, run_dir: RunDir, output: Path, should_stop: Callable[[], bool]
) -> None:
    """Start the command and follow it to its end, which the record then says."""
    record, words = journal.record, command_words.words(plan, output)
    _end_orphans(output)
    path = plan.program.path or ()
    first = f" with {', '.join(path)} first on PYTHONPATH" if path else ""
    journal.say(f"in {plan.program.folder}{first}: {command_words.shown(words)}")
    begin, kills = _size(run_dir.log_path), cgroup.num_kills()
    metric = plan.program.metric.name
    curve = Curve(output, metric)
    known: dict[int, set[str]] = {}
    for row in run_dir.metrics() if plan.program.resume else ():
        known[row["step"]] = set(row)
    (run_dir.path / _STATE).unlink(missing_ok=True)
    child = _start(words, plan.program.folder, path, output, run_dir.log_path)
    is_stopped = False
    try:
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_POLL_S)
            _follow(journal, curve, known)
            if child.returncode is not None:
                break
            if should_stop():
                is_stopped = True
                _stop(child, _CHECKPOINT_GRACE_S if plan.program.resume else _GRACE_S)
    finally:
        children.kill(child)
        _end_orphans(output)  # what it started in a session of its own
    _follow(journal, Curve(output, metric), known)  # all of it: it may have been begun anew on the way
    if is_stopped or (child.returncode == 0 and should_stop()):  # whatever it had told by then
        record.state = RunState.preempted
    elif child.returncode == 0:
        run_dir.write(run_dir.path / _STATE, {"begin": begin})
        _read(record, plan, output, run_dir, begin)
    else:
        begin = max(begin, _size(run_dir.log_path) - _TAIL_BYTES)
        _classify(record, child.returncode, _text(run_dir.log_path, begin), kills)


def _read(record: RunRecord, plan: CommandPlan, output: Path, run_dir: RunDir, begin: int) -> None:
    """Take the result of a command that ended in order into the record. Raises NoResult."""
    metric = plan.program.metric
    told = command_result.read(metric, output, _text(run_dir.log_path, begin))
    record.num_steps = cast("int | None", told.numbers.get("num_steps", record.num_steps))
    record.step = record.num_steps or record.step
    if told.hardware:
        record.environment.hardware = told.hardware
        record.environment_fingerprint = fsio.digest([told.hardware])[:16]
    if not math.isfinite(told.metric):
        record.state, record.failure_class = RunState.diverged, FailureClass.diverged
        record.failure_message = f"{metric.name} is {told.metric}"
        return
    record.results = {**told.numbers, metric.name: told.metric}
    record.state = RunState.complete


def _classify(record: RunRecord, code: int, log: str, kills_before: int | None) -> None:
    """What a command died of that nobody stopped."""
    how = exit_status.in_words(code)
    last = next((line.strip() for line in reversed(log.splitlines()) if line.strip()), "")
    said = f"the command {how}" + (f": {last}" if last else "")
    number = -code if code < 0 else code - 128  # as a shell tells of a child's signal
    if number == signal.SIGTERM:
        _failed(record, FailureClass.preempted, f"{said}; the scheduler or somebody else ended it")
    elif number == signal.SIGKILL and kills_before is not None and (cgroup.num_kills() or 0) > kills_before:
        _failed(record, FailureClass.oom, "out of memory (the kernel killed the command)")
    elif _OUT_OF_MEMORY.search(log):
        _failed(record, FailureClass.oom, said)
    elif code in _NOT_FOUND:
        _failed(record, FailureClass.bad_config, said)
    else:
        _failed(record, FailureClass.crash, said)


def _failed(record: RunRecord, failure_class: FailureClass, message: str) -> None:
    record.state, record.failure_class, record.failure_message = RunState.failed, failure_class, message


def _follow(journal: Journal, curve: Curve, known: dict[int, set[str]]) -> None:
    """Log what the command has added to its curve, each column of a step once, and say where it is."""
    loss = None
    for row in curve.new():
        journal.record.step = max(journal.record.step, row["step"])
        loss = row.get("loss", loss)
        if not row.keys() <= (seen := known.setdefault(row["step"], set())):
            seen.update(row)
            journal.metrics(row)
    journal.progress("training", loss=loss)


def _start(
    words: list[str], folder: str, path: Sequence[str], output: Path, log: Path
) -> subprocess.Popen[bytes]:
    given = {name: value for name, value in os.environ.items() if name not in _OF_RANKS}
    environment = command_imports.in_environment(given, Path(folder), path)
    environment |= {VARIABLE: str(output), "PYTHONUNBUFFERED": "1"}
    with log.open("ab") as out:
        try:
            return subprocess.Popen(
                words,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=children.end_with_parent,  # noqa: PLW1509  (it takes no lock)
            )
        except (FileNotFoundError, PermissionError) as error:
            contract = f"be a program that can be started here ({error.strerror})"
            raise invalid("command", words[0], contract, "correct it, or write its whole path") from None


def _stop(child: subprocess.Popen[bytes], grace_s: float) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(grace_s)
    children.kill(child)


def _end_orphans(output: Path) -> None:
    """End what a killed attempt has left running here, so that no two write into one folder."""
    mark = f"{VARIABLE}={output}".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            pid = int(path.parent.name)
            if pid != os.getpid() and mark in path.read_bytes().split(b"\0"):
                os.kill(pid, signal.SIGKILL)


def _ended_in_order(run_dir: RunDir) -> int | None:
    """Where in the log the last command began, if it ended in order."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        return int(run_dir.read(run_dir.path / _STATE)["begin"])
    return None


def _processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    with contextlib.suppress(OSError):
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return os.uname().machine


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _text(path: Path, begin: int) -> str:
    return fsio.read_from(path, begin).decode(errors="replace") if path.exists() else ""
