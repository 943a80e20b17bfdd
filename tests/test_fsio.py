"""Files that are whole or absent."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sweepkit import fsio, patience, sealed
from sweepkit.errors import DamagedError, StorageError


class Failing:
    """One function of ``os`` that fails for its first calls; nobody waits between one try and the next."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str, code: int, times: int) -> None:
        self.left = times
        real = getattr(os, name)

        def call(*args: Any, **more: Any) -> Any:
            if self.left:
                self.left -= 1
                raise OSError(code, os.strerror(code))
            return real(*args, **more)

        monkeypatch.setattr(os, name, call)
        monkeypatch.setattr(patience, "DELAYS_S", (0.0, 0.0, 0.0))


@pytest.mark.parametrize("code", sorted(patience.TRANSIENT))
@pytest.mark.parametrize("name", ["open", "write", "fsync", "replace", "link", "fstat"])
def test_a_fault_of_a_moment_is_waited_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, code: int
) -> None:
    failing = Failing(monkeypatch, name, code, 2)
    fsio.write_json(tmp_path / "a.json", {"step": 1})
    assert fsio.create_json(tmp_path / "b.json", {"step": 2})
    for step in (1, 2):
        fsio.append_line(tmp_path / "c.jsonl", {"step": step})
    assert fsio.read_json(tmp_path / "a.json") == {"step": 1}
    assert fsio.read_json(tmp_path / "b.json") == {"step": 2}
    assert [row["step"] for row in fsio.read_lines(tmp_path / "c.jsonl")] == [1, 2]
    assert not failing.left
    assert len(list(tmp_path.iterdir())) == 3, "nothing temporary is left"


VALUE = {"state": "complete", "results": {"val_bpb": 1.25, "peak": None}, "steps": [1, 2.5], "3": "Ω\x1b"}
DEEP = 200_000


def put(path: Path, how: str, seed: int) -> None:
    """Damage a file that ``write_json`` wrote."""
    data = bytearray(path.read_bytes())
    at = random.Random(seed).randrange(len(data))
    new = {
        "cut": data[:at],
        "empty": b"",
        "byte": data[:at] + bytes([data[at] ^ (1 << seed % 8)]) + data[at + 1 :],
        "no text": data[:at] + b"\xff" + data[at:],
        "list": b"[1]",
        "null": b"null",
        "number": b"1e999",
        "deep": b'{"a":' * DEEP,
        "deep list": b"[" * DEEP,
        "open": b'{"state": "complete"}',
        "twice": b'{"a": 1, ' + bytes(data[1:]),
        "nan": bytes(data).replace(b"1.25", b"NaN"),
        "digit": bytes(data).replace(b"1.25", b"1.26"),
        "huge": b"1" * 10_000,
    }.get(how)
    path.unlink()
    if new is not None:
        path.write_bytes(new)
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "folder":
        path.mkdir()
    elif how == "ring":
        path.symlink_to(path)
    elif how == "device":
        path.symlink_to("/dev/zero")


HOW = [
    "cut", "byte", "no text", "empty", "list", "null", "number", "deep", "deep list", "open", "twice", "nan",
    "digit", "huge", "pipe", "folder", "ring", "device",
]  # fmt: skip


@pytest.mark.parametrize(("how", "seed"), [
    *((how, 0) for how in HOW), *((how, seed) for how in ("cut", "byte", "no text") for seed in range(1, 40))
])  # fmt: skip
def test_what_was_not_written_is_told_from_what_was(tmp_path: Path, how: str, seed: int) -> None:
    path = tmp_path / "a.json"
    fsio.write_json(path, VALUE)
    assert fsio.read_json(path) == VALUE
    put(path, how, seed)
    try:
        assert fsio.read_json(path) == VALUE  # a byte of white space
        assert how in ("byte", "cut")
    except DamagedError as error:
        assert str(error).startswith(f"{path} is damaged (")
        assert "\n" not in str(error)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.text().filter(lambda key: key not in (sealed.KEY, "crc32")), ANYTHING)


@pytest.mark.slow
@given(OBJECTS, st.integers(0), st.integers(1, 255))
def test_seals_hold_for_every_value_and_break_with_every_byte(
    value: dict[str, Any], at: int, flip: int
) -> None:
    finite = fsio.finite(value)
    data = bytearray(sealed.dumps(value).encode())
    assert sealed.loads(Path("a"), bytes(data)) == finite
    line = bytearray(sealed.line(value))
    assert sealed.of_line(bytes(line)) == finite | {}
    line[at % (len(line) - 1)] ^= flip
    assert sealed.of_line(bytes(line)) in (None, finite)
    data[at % len(data)] ^= flip
    with contextlib.suppress(DamagedError):
        assert sealed.loads(Path("a"), bytes(data)) == finite


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (errno.ENOSPC, "b could not be written: the disk is full"),
        (errno.EDQUOT, "b could not be written: the disk is full"),
        (errno.EACCES, "b cannot be used"),
        (errno.EIO, "storage failed at b"),
        (errno.EBADF, None),
    ],
)
def test_what_befell_a_folder_that_was_copied_is_told_as_of_a_file(code: int, words: str | None) -> None:
    error = OSError(code, os.strerror(code), "a", None, "b")
    for found in (error, shutil.Error([("a", "b", str(error)), ("c", "d", "other")])):
        said = fsio.in_words(found)
        assert (said is None) == (words is None) and (words or "") in (said or "")


@pytest.mark.parametrize("umask", [0o002, 0o022, 0o077])
def test_files_have_the_mode_that_the_umask_gives(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        fsio.write_json(tmp_path / "folder" / "a.json", {})
        fsio.create_json(tmp_path / "b.json", {})
        fsio.append_line(tmp_path / "c.jsonl", {})
        fsio.make_temporary(tmp_path / "d")
    finally:
        os.umask(before)
    for path in tmp_path.rglob("*"):
        expected = (0o777 if path.is_dir() else 0o666) & ~umask
        assert stat.S_IMODE(path.stat().st_mode) == expected, path


def test_half_a_line_is_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:5]))
    with pytest.raises(StorageError, match="the disk is full"):
        fsio.append_line(tmp_path / "rows.jsonl", {"step": 1})
    monkeypatch.undo()
    assert fsio.read_lines(tmp_path / "rows.jsonl") == []


def test_a_file_that_was_replaced_while_it_was_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "record.json"
    fsio.write_json(path, {"step": 1})
    failing = Failing(monkeypatch, "open", errno.ESTALE, 1)
    assert fsio.read_json(path) == {"step": 1}
    assert not failing.left
    Failing(monkeypatch, "open", errno.EIO, 4)
    with pytest.raises(
        StorageError, match=r"storage failed \(Input/output error\), but must answer; run the"
    ):
        fsio.read_json(path)


def test_a_folder_that_cannot_be_made_is_no_missing_file() -> None:
    with pytest.raises(StorageError, match=r"^/proc/nothing cannot be used .*but must be a place to read"):
        fsio.write_text(Path("/proc/nothing/file"), "")


def test_a_device_keeps_its_place(tmp_path: Path) -> None:
    """--report /dev/null as root took the device's place with a page."""
    link = tmp_path / "link"
    link.symlink_to("/dev/null")
    for place in (link, Path("/dev/null")):
        with pytest.raises(StorageError, match="is a device, but must be a file"):
            fsio.write_text(place, "a page")
    assert link.is_symlink() and Path("/dev/null").is_char_device()
    assert [path.name for path in tmp_path.iterdir()] == ["link"]
