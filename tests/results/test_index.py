"""The cache of parsed files: never wrong, whatever happens to it or to its sources."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sweepkit import fsio
from sweepkit.results import index


class Parser:
    """Reads JSON and counts how often. Callable through ``parse`` because the cache asks where code is."""

    def __init__(self) -> None:
        self.calls = 0

    def parse(self, path: Path) -> Any:
        self.calls += 1
        return fsio.read_json(path)


@pytest.fixture
def sources(tmp_path: Path) -> dict[str, Path]:
    files = {f"run{number}": tmp_path / f"{number}.json" for number in range(40)}
    for number, path in enumerate(files.values()):
        fsio.write_json(path, {"value": number})
    return files


def read(tmp_path: Path, sources: dict[str, Path], parser: Parser, **options: Any) -> dict[str, Any]:
    return index.read_cached(tmp_path / "cache.jsonl", sources, parser.parse, **options)


def test_the_second_read_parses_nothing(tmp_path: Path, sources: dict[str, Path]) -> None:
    first, second = Parser(), Parser()
    expected = read(tmp_path, sources, first)
    assert first.calls == 40
    assert read(tmp_path, sources, second) == expected
    assert second.calls == 0


def test_a_replaced_source_is_parsed_again_even_with_the_same_time_and_size(
    tmp_path: Path, sources: dict[str, Path]
) -> None:
    import os

    read(tmp_path, sources, Parser())
    path = sources["run7"]
    before = path.stat()
    fsio.write_json(path, {"value": 8})  # as long as before
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    again = Parser()
    assert read(tmp_path, sources, again)["run7"] == {"value": 8}
    assert again.calls == 1


def test_a_digit_that_changed_in_the_cache_is_not_handed_out(
    tmp_path: Path, sources: dict[str, Path]
) -> None:
    expected = read(tmp_path, sources, Parser())
    cache = tmp_path / "cache.jsonl"
    cache.write_text(cache.read_text().replace('"value":{"value":17}', '"value":{"value":71}'))
    again = Parser()
    assert read(tmp_path, sources, again) == expected
    assert again.calls == 1


DAMAGE = ["gone", "empty", "torn", "garbage", "other version", "folder", "odd lines"]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_is_rebuilt(tmp_path: Path, sources: dict[str, Path], damage: str) -> None:
    expected = read(tmp_path, sources, Parser())
    cache = tmp_path / "cache.jsonl"
    text = cache.read_text()
    cache.unlink()
    if damage == "folder":
        cache.mkdir()
    elif damage != "gone":
        content = {
            "empty": b"",
            "torn": text[: len(text) // 2].encode(),
            "garbage": bytes(range(256)) * 20,
            "other version": b"an older header\n" + text.encode(),
            "odd lines": (text + '{"a": 1}\n[1, 2]\nnull\n["run1", 0, 0]\n').encode(),
        }[damage]
        cache.write_bytes(content)
    assert read(tmp_path, sources, Parser()) == expected
    assert read(tmp_path, sources, Parser()) == expected


def test_a_vanished_source_is_not_in_the_answer(tmp_path: Path, sources: dict[str, Path]) -> None:
    read(tmp_path, sources, Parser())
    sources["run3"].unlink()
    assert "run3" not in read(tmp_path, sources, Parser())


def test_few_changes_do_not_rewrite_the_cache(tmp_path: Path, sources: dict[str, Path]) -> None:
    read(tmp_path, sources, Parser())
    before = (tmp_path / "cache.jsonl").stat().st_ino
    fsio.write_json(sources["run0"], {"value": "new"})
    assert read(tmp_path, sources, Parser())["run0"] == {"value": "new"}
    assert (tmp_path / "cache.jsonl").stat().st_ino == before
    read(tmp_path, sources, Parser(), write_from=1)
    assert (tmp_path / "cache.jsonl").stat().st_ino != before


def test_many_readers_at_once_all_get_the_right_answer(tmp_path: Path, sources: dict[str, Path]) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: read(tmp_path, sources, Parser(), write_from=1), range(32)))
    expected = {f"run{number}": {"value": number} for number in range(40)}
    assert all(answer == expected for answer in answers)


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, sources: dict[str, Path]) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = tmp_path / "file" / "cache.jsonl"
    assert len(index.read_cached(cache, sources, Parser().parse)) == 40


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["write", "delete", "damage", "read"]),
                          st.integers(0, 3)), max_size=12))  # fmt: skip
def test_the_answer_is_always_what_the_files_say(steps: list[tuple[str, str, int]]) -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder)
        sources = {name: root / f"{name}.json" for name in "abc"}
        for name, action, value in [*steps, ("a", "read", 0)]:
            if action == "write":
                fsio.write_json(sources[name], {"value": value})
            elif action == "delete":
                sources[name].unlink(missing_ok=True)
            elif action == "damage" and (root / "cache.jsonl").exists():
                text = (root / "cache.jsonl").read_text()
                (root / "cache.jsonl").write_text(text[: len(text) - value])
            truth = {key: fsio.read_json(path) for key, path in sources.items() if path.exists()}
            assert read(root, sources, Parser(), write_from=1) == truth
