"""Folders of parquet files: what is held out, what pins them, and what can be wrong with them."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from made_up_text import folder_config, sentences, write_parquet

from sweepkit.config.choices import DatasetKind
from sweepkit.config.schema import DatasetConfig, RunConfig
from sweepkit.data.documents import documents
from sweepkit.data.prepare import prepare
from sweepkit.errors import ConfigError, DataError
from sweepkit.plan.text_file import open_text


def texts_of(config: RunConfig, split: str) -> list[str]:
    return list(documents(config.dataset, split, Path("unused")).texts())


def test_the_last_files_are_held_out(folder: Path) -> None:
    config = folder_config(folder)
    assert texts_of(config, "train") == list(sentences(60))
    assert texts_of(config, "validation") == list(sentences(30, 60))
    config.dataset.validation_shards = 2
    assert texts_of(config, "train") == list(sentences(30))


def test_of_a_single_file_the_last_twentieth_is_held_out(tmp_path: Path) -> None:
    write_parquet(tmp_path / "only.parquet", list(sentences(100)))
    config = folder_config(tmp_path)
    assert texts_of(config, "train") == list(sentences(95))
    assert texts_of(config, "validation") == list(sentences(5, 95))


def test_empty_and_missing_documents_are_skipped(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", ["one", None, "", "two"])
    write_parquet(tmp_path / "b.parquet", ["three"])
    assert texts_of(folder_config(tmp_path), "train") == ["one", "two"]


def test_the_recipe_follows_content_and_not_place(folder: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    here = documents(folder_config(folder).dataset, "train", tmp_path).recipe
    folder.rename(moved)
    assert documents(folder_config(moved).dataset, "train", tmp_path).recipe == here
    write_parquet(moved / "part0.parquet", [*sentences(29), "changed"])
    assert documents(folder_config(moved).dataset, "train", tmp_path).recipe != here


def test_a_link_to_a_folder_is_read_like_one(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "linked" / "inner").mkdir(parents=True)
    (tmp_path / "linked" / "part").symlink_to(folder)
    (tmp_path / "linked" / "inner" / "round").symlink_to(tmp_path / "linked")
    shutil.copytree(folder, tmp_path / "copied" / "part")
    one, other = (folder_config(tmp_path / name) for name in ("linked", "copied"))
    assert texts_of(one, "train") == texts_of(other, "train") == list(sentences(60))
    assert (
        documents(one.dataset, "train", tmp_path).recipe == documents(other.dataset, "train", tmp_path).recipe
    )


def test_a_file_that_changes_between_its_digest_and_its_end_is_refused(folder: Path) -> None:
    """Or tokens of the new text would be kept under the digest of the old one."""
    config = folder_config(folder)
    before = documents(config.dataset, "train", folder)
    write_parquet(folder / "part0.parquet", ["changed"])
    with pytest.raises(DataError, match=r"part0\.parquet was changed while it was read"):
        list(before.texts())
    during = documents(config.dataset, "train", folder).texts()
    next(during)
    write_parquet(folder / "part0.parquet", ["changed again"])
    with pytest.raises(DataError, match=r"part0\.parquet was changed while it was read"):
        list(during)


def test_json_lines_can_be_read_plain_and_compressed(tmp_path: Path) -> None:
    rows = "".join(json.dumps({"text": text, "id": 1}) + "\n" for text in sentences(5))
    (tmp_path / "a.jsonl").write_text(rows)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(rows.encode()))
    with pa.output_stream(str(tmp_path / "a.jsonl.zst"), compression="zstd") as stream:
        stream.write(rows.encode())
    for path in tmp_path.glob("a.*"):
        assert [text for batch in open_text(path, "text") for text in batch] == list(sentences(5))
    (tmp_path / "a.jsonl.zst").write_bytes((tmp_path / "a.jsonl.zst").read_bytes()[:-20])
    with pytest.raises(DataError, match=r"a\.jsonl\.zst, line 1, is corrupt or cut short"):
        list(open_text(tmp_path / "a.jsonl.zst", "text"))
    with pytest.raises(DataError, match=r"dataset\.text_column is 'body'.*known: id, text"):
        list(open_text(tmp_path / "a.jsonl", "body"))


def wrong(path: str | None, **changes: object) -> RunConfig:
    config = RunConfig()
    config.dataset = DatasetConfig(name="mine", kind=DatasetKind.files, path=path)
    for name, value in changes.items():
        setattr(config.dataset, name, value)
    config.tokenizer.vocab_size = 300
    return config


def test_no_path_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"dataset\.path is not set, but must name a file or a folder"):
        prepare(wrong(None))


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"dataset\.path is '.*nowhere', which does not exist on this machine, but must .*Check",
    ):
        prepare(wrong(str(tmp_path / "nowhere")))


def test_a_file_whose_name_says_no_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match=r"file', but must be a folder or one of \*\.parquet.*; rename"):
        prepare(wrong(str(tmp_path / "file")))


def test_what_is_named_parquet_and_is_no_file_is_refused(folder: Path) -> None:
    (folder / "gone.parquet").symlink_to(folder / "elsewhere")
    with pytest.raises(DataError, match=r"gone\.parquet is a link to a file that is missing"):
        prepare(wrong(str(folder)))


def test_validation_text_that_is_trained_on_too_is_refused(folder: Path) -> None:
    shutil.copy(folder / "part0.parquet", folder / "part9.parquet")
    with pytest.raises(DataError, match=r"part9\.parquet is validation text.*part0\.parquet has the same"):
        prepare(wrong(str(folder)))


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_text_is_text_in_any_layout(tmp_path: Path, kind: pa.DataType) -> None:
    texts = ["one", "two", "three"]
    pq.write_table(pa.table({"text": pa.array(texts).cast(kind)}), tmp_path / "a.parquet")
    assert [text for batch in open_text(tmp_path / "a.parquet", "text") for text in batch] == texts


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"holds no file of text, but must hold at least one of .*; put files"
    ):
        prepare(wrong(str(tmp_path)))


def test_a_folder_without_the_text_column_is_refused(folder: Path) -> None:
    with pytest.raises(
        DataError, match=r"dataset\.text_column is 'txt', .*part0\.parquet; did you mean 'text'"
    ):
        prepare(wrong(str(folder), text_column="txt"))


def test_a_column_that_is_no_text_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match=r"dataset\.text_column is 'id', of type int64 in .*but must be text"):
        prepare(wrong(str(folder), text_column="id"))


@pytest.mark.parametrize("keep", [7, -100])
def test_a_corrupt_file_is_named(folder: Path, keep: int) -> None:
    path = folder / "part1.parquet"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(
        DataError, match=r"part1\.parquet is corrupt or cut short .*, but must be .*; delete it"
    ):
        prepare(wrong(str(folder)))


def test_damage_inside_a_column_is_named(folder: Path) -> None:
    path = folder / "part1.parquet"
    data = bytearray(path.read_bytes())
    data[4:400] = bytes(396)
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"part1\.parquet is corrupt or cut short"):
        prepare(wrong(str(folder)))


def test_more_validation_files_than_files_are_refused(folder: Path) -> None:
    with pytest.raises(
        ConfigError,
        match=r"dataset\.validation_shards is 3, but must be at least 1 and leave one of the 3 files",
    ):
        prepare(wrong(str(folder), validation_shards=3))


def test_files_with_no_text_are_refused(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", [None, ""])
    write_parquet(tmp_path / "b.parquet", [None])
    config = wrong(str(tmp_path))
    config.tokenizer.corpus = type(config.tokenizer.corpus).embedded
    with pytest.raises(DataError, match="holds no text to train on or none to evaluate on, but must"):
        prepare(config)


def test_without_any_text_the_tokenizer_is_not_blamed(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", [])
    write_parquet(tmp_path / "b.parquet", [None])
    with pytest.raises(DataError, match="holds no text to train on or none to evaluate on, but must"):
        prepare(wrong(str(tmp_path)))


@pytest.mark.parametrize("count", [2, 5, 9])
def test_a_few_large_documents_leave_one_for_validation(tmp_path: Path, count: int) -> None:
    write_parquet(tmp_path / "books.parquet", list(sentences(count)))
    assert texts_of(folder_config(tmp_path), "train") == list(sentences(count - 1))
    assert texts_of(folder_config(tmp_path), "validation") == list(sentences(1, count - 1))


def test_a_column_that_is_no_text_is_not_proposed_again(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"'id', of type int64 .*; known: text$"):
        prepare(wrong(str(folder), text_column="id"))
    pq.write_table(pa.table({"text": [1, 2]}), tmp_path / "numbers.parquet")
    with pytest.raises(DataError, match=r"of type int64 .*; write that column as strings$"):
        list(open_text(tmp_path / "numbers.parquet", "text"))


def test_bytes_that_are_no_utf8_are_damage(tmp_path: Path) -> None:
    path = tmp_path / "plain.parquet"
    table = pa.table({"text": ["plain text, whose bytes stand in the file as they are"] * 9})
    pq.write_table(table, path, compression="none", use_dictionary=False, write_statistics=False)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"plain text", b"plain \xff\xfe\xfd\xfc"))
    with pytest.raises(DataError, match=r"plain\.parquet is corrupt or cut short .*utf-8"):
        list(open_text(path, "text"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": 5, "body": "b"}', r"'text', of type int in .*but must be text; known: body$"),
        ('{"text": ["a"]}', r"'text', of type list in .*; write that column as strings$"),
        (
            "[1, 2]",
            r"line 2, is corrupt or cut short \(it has \[1, 2\]\), but must be one JSON object a line",
        ),
        ("null", r"but must be one JSON object a line"),
    ],
)
def test_json_lines_that_hold_no_text_say_so(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"text": "fine"}}\n{line}\n')
    with pytest.raises(DataError, match=message):
        list(open_text(tmp_path / "a.jsonl", "text"))


def test_json_lines_with_gaps_and_half_surrogates_can_be_tokenized(tmp_path: Path) -> None:
    lines = ['{"text": "one"}', "", '{"text": null}', r'{"text": "\ud83d\ude00 and \ud800 half"}', "  "]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n")
    texts = [text for batch in open_text(tmp_path / "a.jsonl", "text") for text in batch if text]
    assert texts == ["one", "\N{GRINNING FACE} and \N{REPLACEMENT CHARACTER} half"]
