"""Claims: never two holders, never a run that nobody can have, whatever dies when."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepkit.config import typed
from sweepkit.launch import claim_files, claims, process
from sweepkit.launch.claim_files import ClaimInfo
from sweepkit.launch.process import Liveness, ProcessId
from sweepkit.results.record import RunDir

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    run_dir = RunDir(tmp_path / "runs" / "a")
    run_dir.path.mkdir(parents=True)
    return run_dir


def gone() -> ProcessId:
    """A process that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        started = process._started(child.pid)
        assert child.stdin is not None
        child.stdin.close()
    assert started is not None
    return replace(process.current(), pid=child.pid, started=started)


def leave(
    path: Path, holder: ProcessId, token: str = "old", *, silent_s: float = 0.0, **more: object
) -> None:
    """Put a claim of another process where ``path`` says."""
    info = replace(ClaimInfo(token, holder, "driver", 1, 0, "2026-01-01T00:00:00+00:00"), **more)
    path.write_text(claim_files.in_file(path, info))
    then = time.time() - silent_s
    os.utime(path, (then, then))


def test_a_claim_is_exclusive_until_released(run_dir: RunDir) -> None:
    first = claims.claim(run_dir, driver="d", attempt=3)
    assert first is not None
    assert claims.claim(run_dir) is None
    holder = claims.holder(run_dir.claim_path)
    assert holder is not None
    assert holder.alive
    assert (holder.info.driver, holder.info.attempt, holder.info.process) == ("d", 3, process.current())
    first.release()
    first.release()
    assert list(run_dir.path.iterdir()) == []
    second = claims.claim(run_dir)
    assert second is not None
    second.release()


def test_a_zombie_is_gone_and_a_reused_pid_is_someone_else() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        while (stat := Path(f"/proc/{child.pid}/stat").read_text()).rsplit(")", 1)[1].split()[0] != "Z":
            time.sleep(0.01)
        started = stat.rsplit(")", 1)[1].split()[19]
        assert process.liveness(replace(process.current(), pid=child.pid, started=started)) is Liveness.gone
    reused = replace(process.current(), started="1")
    assert process.liveness(reused) is Liveness.gone
    assert process.liveness(process.current()) is Liveness.alive


def test_a_process_that_proc_hides_is_left_to_its_heartbeat(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """hidepid: /proc does not show processes of other users."""
    process.current()
    dead = gone()
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "stat").touch()
    monkeypatch.setattr(process, "_PROC", tmp_path)
    here = process.current()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as hidden:
        assert process.liveness(replace(here, pid=hidden.pid, started="1")) is Liveness.unknown
    assert process.liveness(dead) is Liveness.gone

    def deny(pid: int, number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", deny)
    assert process.liveness(dead) is Liveness.unknown


@pytest.mark.parametrize(
    ("change", "silent_s", "taken"),
    [
        ({"host": "elsewhere"}, 0.0, False),
        ({"host": "elsewhere"}, claims.SILENT_S + 5, True),
        ({"namespace": "pid:[1]"}, 0.0, False),  # a container on this host
        ({"namespace": "pid:[1]"}, claims.SILENT_S + 5, True),
        ({"boot_id": "before"}, claims.SILENT_S + 5, True),
        ({"boot_id": "before"}, 0.0, False),  # two machines of one name share the folder
        ({"started": "1"}, 0.0, True),
        ({}, claims.SILENT_S + 5, False),  # seen alive: a suspended laptop does not lose its run
    ],
)
def test_when_a_claim_is_dead(run_dir: RunDir, change: dict[str, str], silent_s: float, taken: bool) -> None:
    leave(run_dir.claim_path, replace(process.current(), **change), silent_s=silent_s)
    claim = claims.claim(run_dir)
    assert (claim is not None) == taken
    if claim is not None:
        assert sorted(path.name for path in run_dir.path.iterdir()) == ["claim.json"]
        claim.release()


def test_a_torn_claim_is_taken_over_once_it_is_silent(run_dir: RunDir) -> None:
    run_dir.claim_path.write_text('{"token": "x", "pro')
    assert claims.claim(run_dir) is None
    then = time.time() - claims.SILENT_S - 1
    os.utime(run_dir.claim_path, (then, then))
    claim = claims.claim(run_dir)
    assert claim is not None
    claim.release()


def test_a_taker_that_died_half_way_is_taken_over_in_turn(run_dir: RunDir) -> None:
    dead = gone()
    leave(run_dir.claim_path, dead, "x")
    leave(run_dir.path / "claim.json.next-x", dead, "y")
    leave(run_dir.path / "claim.json.next-y", dead, "z", released=True)
    claim = claims.claim(run_dir)
    assert claim is not None
    assert sorted(path.name for path in run_dir.path.iterdir()) == ["claim.json"]
    claim.release()


def test_a_takeover_tidies_up_after_those_who_were_killed_while_claiming(run_dir: RunDir) -> None:
    dead = gone()
    leave(run_dir.claim_path, dead, "x")
    for name in (".claim.json.abc.tmp", "claim.json.next-none"):
        leave(run_dir.path / name, dead, "y", silent_s=claims.SILENT_S + 1)
    leave(run_dir.path / ".claim.json.new.tmp", dead, "z")  # perhaps of one at work
    claim = claims.claim(run_dir)
    assert claim is not None
    assert sorted(path.name for path in run_dir.path.iterdir()) == [".claim.json.new.tmp", "claim.json"]
    claim.release()


def test_a_taker_at_work_is_left_alone(run_dir: RunDir) -> None:
    leave(run_dir.claim_path, gone(), "x")
    leave(run_dir.path / "claim.json.next-x", process.current(), "y")
    assert claims.claim(run_dir) is None
    holder = claims.holder(run_dir.claim_path)
    assert holder is not None
    assert (holder.alive, holder.info.token) == (True, "y")


def test_a_slow_taker_withdraws(run_dir: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    leave(run_dir.claim_path, gone(), "x")
    chains = iter([claim_files.chain_of(run_dir.claim_path)])  # what the slow one saw
    quick = claims.claim(run_dir)
    assert quick is not None
    real = claim_files.chain_of
    monkeypatch.setattr(claim_files, "chain_of", lambda path: next(chains, None) or real(path))
    assert claims.claim(run_dir) is None
    assert sorted(path.name for path in run_dir.path.iterdir()) == ["claim.json"]
    quick.release()
    assert list(run_dir.path.iterdir()) == []


def test_a_holder_learns_that_it_was_taken_over_and_leaves_the_new_claim(
    run_dir: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "WATCH_S", 0.01)
    monkeypatch.setattr(claims, "HEARTBEAT_S", 0.02)
    old = claims.claim(run_dir)
    assert old is not None
    beaten = run_dir.claim_path.stat().st_mtime_ns
    until = time.monotonic() + 300.0
    while run_dir.claim_path.stat().st_mtime_ns <= beaten:
        assert time.monotonic() < until, "no heartbeat"
        time.sleep(0.01)
    monkeypatch.setattr(process, "liveness", lambda _: Liveness.gone)
    new = claims.claim(run_dir)
    assert new is not None
    assert old.lost.wait(300)
    old.release()
    holder = claims.holder(run_dir.claim_path)
    assert holder is not None
    assert holder.info.token == new.info.token
    new.release()
    assert list(run_dir.path.iterdir()) == []


def test_deaths_count_only_while_the_driver_lives(run_dir: RunDir) -> None:
    dead = gone()
    for driver, deaths in [("mine", 3), (claims.driver_id(), 3), ("host:1:2", 2)]:
        leave(run_dir.claim_path, dead, driver=driver, deaths=2)
        claim = claims.claim(run_dir, driver="mine")
        assert claim is not None
        assert claim.info.deaths == deaths
        claim.release()
    fresh = claims.claim(run_dir, driver="mine")
    assert fresh is not None
    assert fresh.info.deaths == 0
    fresh.release()


@settings(max_examples=50, deadline=None)
@given(
    driver=st.text(),
    attempt=st.integers(0, 10**6),
    deaths=st.integers(0, 10),
    released=st.booleans(),
    host=st.text(),
)
def test_what_a_claim_says_survives_json(
    driver: str, attempt: int, deaths: int, released: bool, host: str
) -> None:
    info = ClaimInfo(
        "t", ProcessId(host, "b", "n", 1, "2"), driver, attempt, deaths, "now", released=released
    )
    assert typed.load(ClaimInfo, json.loads(json.dumps(typed.dump(info)))) == info


def _contend(path: Path, times: int, seed: int, results: Path) -> None:
    """Claim, hold, release, so many times; a file lock, which the kernel frees, is the witness."""
    chance = random.Random(seed)
    held = 0
    with (results / "witness").open("w") as witness:
        while held < times:
            claim = claims.acquire(path)
            if claim is None:
                continue
            try:
                fcntl.flock(witness, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                (results / "violation").touch()
            time.sleep(chance.random() * 0.002)
            fcntl.flock(witness, fcntl.LOCK_UN)
            held += 1
            claim.release()


@pytest.mark.slow
def test_racing_processes_never_both_hold_a_claim(tmp_path: Path) -> None:
    path = tmp_path / "claims" / "claim.json"
    path.parent.mkdir()
    racers = [FORK.Process(target=_contend, args=(path, 40, seed, tmp_path)) for seed in range(6)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(600)
        assert racer.exitcode == 0
    assert not (tmp_path / "violation").exists()
    assert list(path.parent.iterdir()) == []


def _take_once(path: Path, start: Any, tried: Any, results: Path) -> None:
    start.wait()
    claim = claims.acquire(path)
    if claim is not None:
        (results / f"took-{os.getpid()}").touch()
    tried.wait()  # nobody ends before all have tried: a claim whose holder has ended is rightly taken over
    os._exit(0)  # without release: the claim stays, held by a process that is gone


@pytest.mark.slow
def test_one_of_many_takes_over_a_dead_claim(tmp_path: Path) -> None:
    path = tmp_path / "claims" / "claim.json"
    path.parent.mkdir()
    leave(path, gone())
    for round_number in range(1, 6):
        start, tried = FORK.Barrier(8), FORK.Barrier(8)
        takers = [FORK.Process(target=_take_once, args=(path, start, tried, tmp_path)) for _ in range(8)]
        for taker in takers:
            taker.start()
        for taker in takers:
            taker.join()
        assert len(list(tmp_path.glob("took-*"))) == round_number


@pytest.mark.slow
def test_killed_racers_leave_a_run_that_can_be_had(tmp_path: Path) -> None:
    """SIGKILL at random moments of claiming, holding and releasing."""
    path = tmp_path / "claims" / "claim.json"
    path.parent.mkdir()
    chance = random.Random(1)
    until = time.monotonic() + 3.0
    racers = []
    while time.monotonic() < until:
        racers = [racer for racer in racers if racer.is_alive()]
        while len(racers) < 4:
            racer = FORK.Process(target=_contend, args=(path, 10**9, chance.randrange(10**6), tmp_path))
            racer.start()
            racers.append(racer)
        time.sleep(chance.random() * 0.02)
        victim = chance.choice(racers)
        assert victim.pid is not None
        os.kill(victim.pid, signal.SIGKILL)
        victim.join()
    for racer in racers:
        racer.kill()
        racer.join()
    assert not (tmp_path / "violation").exists()
    claim = claims.acquire(path)
    assert claim is not None
    claim.release()
    assert not path.exists()
