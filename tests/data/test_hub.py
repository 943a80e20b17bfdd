"""The download code against a hub on this machine: resume, checksums, no network."""

from __future__ import annotations

import io
import traceback
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_hub import FakeHub

from sweepkit.config.choices import DatasetKind
from sweepkit.config.schema import DatasetConfig, RunConfig
from sweepkit.data import hub
from sweepkit.data.documents import documents
from sweepkit.data.prepare import prepare
from sweepkit.errors import ConfigError, DataError, ImpossibleError

REPO = "someone/shuffled"


def shard_bytes(index: int) -> bytes:
    # Incompressible enough that a shard can be cut in the middle.
    texts = [f"shard {index} document {number} " + hex(hash((index, number)) ** 40) for number in range(40)]
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": texts}), buffer)
    return buffer.getvalue()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    files = {f"shard_{index:05d}.parquet": shard_bytes(index) for index in range(4)}
    fake = FakeHub(REPO, files | {"README.md": b"hello"})
    monkeypatch.setenv("HF_ENDPOINT", fake.endpoint)
    yield fake
    fake.close()


def config(**changes: object) -> DatasetConfig:
    dataset = DatasetConfig(
        name="hub",
        kind=DatasetKind.hub,
        repo=REPO,
        shard_pattern="shard_{index:05d}.parquet",
        num_train_shards=2,
    )
    for name, value in changes.items():
        setattr(dataset, name, value)
    return dataset


def first_words(texts: list[str]) -> list[str]:
    return sorted({" ".join(text.split()[:2]) for text in texts})


def test_reads_the_first_shards_and_holds_out_the_last(server: FakeHub, tmp_path: Path) -> None:
    train = list(documents(config(), "train", tmp_path).texts())
    held_out = list(documents(config(), "validation", tmp_path).texts())
    assert first_words(train) == ["shard 0", "shard 1"] and len(train) == 80
    assert first_words(held_out) == ["shard 3"]
    assert not server.gets("shard_00002.parquet"), "a shard nobody asked for was downloaded"


def test_a_second_read_downloads_nothing(server: FakeHub, tmp_path: Path) -> None:
    list(documents(config(), "train", tmp_path).texts())
    before = len(server.gets(".parquet"))
    list(documents(config(), "train", tmp_path).texts())
    assert len(server.gets(".parquet")) == before


def test_a_cut_download_goes_on_where_it_stopped(
    server: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 500)
    server.cut["shard_00000.parquet"] = 1_000
    texts = list(documents(config(num_train_shards=1), "train", tmp_path).texts())
    assert len(texts) == 40
    assert server.gets("shard_00000.parquet") == [None, "bytes=1000-"]


def test_a_download_killed_with_its_process_goes_on_where_it_stopped(server: FakeHub, tmp_path: Path) -> None:
    dataset = config(num_train_shards=1)
    list(documents(dataset, "train", tmp_path).texts())
    (path,) = tmp_path.rglob("shard_00000.parquet")
    path.with_name(path.name + ".part").write_bytes(path.read_bytes()[:700])  # what a killed process leaves
    path.unlink()
    assert len(list(documents(dataset, "train", tmp_path).texts())) == 40
    assert server.gets("shard_00000.parquet") == [None, "bytes=700-"]


def test_a_corrupt_shard_is_fetched_again(server: FakeHub, tmp_path: Path) -> None:
    server.corrupt["shard_00000.parquet"] = 1
    assert len(list(documents(config(num_train_shards=1), "train", tmp_path).texts())) == 40
    assert len(server.gets("shard_00000.parquet")) == 2


def test_a_shard_that_stays_corrupt_is_refused(server: FakeHub, tmp_path: Path) -> None:
    server.corrupt["shard_00000.parquet"] = 9
    with pytest.raises(DataError, match=r"shard_00000\.parquet of someone/shuffled arrived corrupt"):
        list(documents(config(num_train_shards=1), "train", tmp_path).texts())
    assert not list(tmp_path.rglob("shard_00000.parquet")), "the corrupt file was left where it may be read"


def test_a_shard_damaged_on_disk_is_fetched_again(server: FakeHub, tmp_path: Path) -> None:
    list(documents(config(num_train_shards=1), "train", tmp_path).texts())
    (path,) = tmp_path.rglob("shard_00000.parquet")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert len(list(documents(config(num_train_shards=1), "train", tmp_path).texts())) == 40


def test_downloaded_shards_can_be_read_without_a_network(
    server: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(documents(config(), "train", tmp_path).texts())
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert len(list(documents(config(), "train", tmp_path).texts())) == 80


def test_the_commit_that_was_found_first_stays_and_is_kept(
    server: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWEEPKIT_CACHE_DIR", str(tmp_path))
    run = RunConfig(dataset=config(num_train_shards=1))
    run.tokenizer.vocab_size, run.horizon.sequence_len, run.evaluation.streams = 300, 16, ["validation"]
    first = server.commit
    before = prepare(run)
    server.commit = "b" * 40
    run.dataset.num_train_shards = 2  # another entry, whose second shard is fetched only now
    server.files = {name: data for name, data in server.files.items() if name != "shard_00001.parquet"}
    with pytest.raises(DataError, match="shard_00001"):  # of the first commit, which this hub has lost
        prepare(run)
    assert {name: part.commit for name, part in before.texts.items()} == {
        "train": first, "validation": first,
    }  # fmt: skip
    run.dataset.num_train_shards, run.dataset.revision = 1, "b" * 40
    assert {part.commit for part in prepare(run).texts.values()} == {"b" * 40}


def test_no_network_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DataError, match=r"dataset\.repo is 'someone/shuffled'.*check the network"):
        list(documents(config(), "train", tmp_path).texts())


def test_an_unknown_repository_says_so(server: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"dataset\.repo is 'someone/else'.*check the spelling"):
        list(documents(config(repo="someone/else"), "train", tmp_path).texts())


def test_the_recipe_asks_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert hub.recipe(config(), "train") == hub.recipe(config(), "train")
    assert hub.recipe(config(num_train_shards=1), "validation") == hub.recipe(config(), "validation")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"repo": None}, "dataset.repo"),
        ({"shard_pattern": None}, "dataset.shard_pattern"),
        ({"validation_shards": 0}, "dataset.validation_shards"),
    ],
)
def test_fields_that_do_not_fit(
    server: FakeHub, tmp_path: Path, changes: dict[str, object], field: str
) -> None:
    with pytest.raises(ConfigError, match=f"^{field} is .* but must .*; "):
        list(documents(config(**changes), "train", tmp_path).texts())


def test_more_shards_than_there_are_is_impossible(server: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(ImpossibleError, match=r"^dataset\.num_train_shards is 9, but must be at most"):
        list(documents(config(num_train_shards=9), "train", tmp_path).texts())


def test_a_pattern_that_matches_nothing_names_files_there_are(server: FakeHub, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"matches 0 files of someone/shuffled.*shard_00000\.parquet"):
        list(documents(config(shard_pattern="data/*.parquet"), "train", tmp_path).texts())


def test_globs_are_in_an_order_that_does_not_follow_names(server: FakeHub, tmp_path: Path) -> None:
    names = [
        file.name
        for file in hub.files(config(shard_pattern="*.parquet", num_train_shards=3), "train", tmp_path)
    ]
    held_out = [file.name for file in hub.files(config(shard_pattern="*.parquet"), "validation", tmp_path)]
    assert sorted(names + held_out) == sorted(name for name in server.files if name.endswith(".parquet"))
    assert names != sorted(names) or held_out != ["shard_00003.parquet"]


def test_the_password_in_an_endpoint_is_nowhere_in_the_error(
    server: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.is_down = True
    monkeypatch.setenv("HF_ENDPOINT", server.endpoint.replace("//", "//me:s3cret@"))
    with pytest.raises(DataError, match=r"503.*//\*\*\*@127") as caught:
        list(documents(config(), "train", tmp_path).texts())
    shown = "".join(traceback.format_exception(caught.value))  # as a run's log has it
    assert "503" in shown and "s3cret" not in shown
