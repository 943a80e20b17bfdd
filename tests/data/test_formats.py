"""Own text in every format: read alike, held out alike, and what is wrong is said with file and line."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_text import folder_config, sentences, write_parquet

from sample import sample
from sweepkit.config.choices import DatasetKind, TxtDocument
from sweepkit.config.compose import compose
from sweepkit.config.schema import RunConfig
from sweepkit.data.documents import documents
from sweepkit.data.prepare import prepare
from sweepkit.errors import ConfigError, DataError
from sweepkit.plan import build, folder_text, text
from sweepkit.plan.text_file import open_text
from sweepkit.sweep import expand
from sweepkit.sweep.file import SweepFile

TEXTS = sentences(40)
BOM = b"\xef\xbb\xbf"


def as_jsonl(texts: list[str]) -> bytes:
    return "".join(f"{json.dumps({'id': 1, 'text': text})}\n" for text in texts).encode()


def as_csv(texts: list[str], delimiter: str = ",") -> bytes:
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows([["id", "text"], *([1, text] for text in texts)])
    return out.getvalue().encode()


def as_paragraphs(texts: list[str]) -> bytes:
    return "\n\n".join(texts).encode()


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return bytes(sink.getvalue())


def as_parquet(texts: list[str]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": [1] * len(texts), "text": texts}), sink)
    return bytes(sink.getvalue())


def as_arrow(texts: list[str], stream: bool = True) -> bytes:
    sink = pa.BufferOutputStream()
    table = pa.table({"id": [1] * len(texts), "text": texts})
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=7)
    return bytes(sink.getvalue())


#: Name of a file → what makes its bytes of texts.
FORMATS: dict[str, Callable[[list[str]], bytes]] = {
    "a.jsonl": as_jsonl,
    "a.json": as_jsonl,
    "a.ndjson.gz": lambda texts: gzip.compress(as_jsonl(texts)),
    "a.jsonl.gz": lambda texts: gzip.compress(BOM + as_jsonl(texts)),
    "a.jsonl.zst": lambda texts: zstd(as_jsonl(texts)),
    "bom.jsonl": lambda texts: BOM + as_jsonl(texts),
    "a.csv": as_csv,
    "bom.csv": lambda texts: BOM + as_csv(texts),
    "a.csv.gz": lambda texts: gzip.compress(as_csv(texts)),
    "a.tsv": lambda texts: as_csv(texts, "\t"),
    "a.txt": as_paragraphs,
    "bom.txt": lambda texts: BOM + as_paragraphs(texts),
    "a.txt.zst": lambda texts: zstd(as_paragraphs(texts)),
    "a.parquet": as_parquet,
    "a.arrow": as_arrow,
    "file.arrow": lambda texts: as_arrow(texts, stream=False),
}


def texts_of(config: RunConfig, split: str) -> list[str]:
    return list(documents(config.dataset, split, Path("unused")).texts())


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_is_read_alike_as_a_file_and_in_a_folder(name: str, tmp_path: Path) -> None:
    path = tmp_path / "text" / "deep" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(FORMATS[name](TEXTS))
    for place in (path, tmp_path / "text"):
        assert texts_of(folder_config(place), "train") == TEXTS[:38]
        assert texts_of(folder_config(place), "validation") == TEXTS[38:]
    second = tmp_path / "text" / "z" / name
    second.parent.mkdir()
    second.write_bytes(FORMATS[name](TEXTS[:3]))
    config = folder_config(tmp_path / "text")
    config.dataset.txt_document = TxtDocument.paragraph
    assert texts_of(config, "train") == TEXTS
    assert texts_of(config, "validation") == TEXTS[:3]


def damaged(data: bytes) -> bytes:
    return data[: len(data) // 2]


def other(_: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00\xff\xfe\x00" * 9


#: Fault → what it makes of a file's bytes.
FAULTS: dict[str, Callable[[bytes], bytes]] = {
    "cut": damaged,
    "another kind": other,
    "empty": lambda data: b"",
    "latin-1": lambda data: data.replace("ü".encode(), b"\xfc"),
    "no text": lambda data: data,  # of empty documents
}
_TEXTUAL = (".jsonl", ".json", ".csv", ".tsv", ".txt")
CASES = [
    (name, fault)
    for name in FORMATS
    for fault in FAULTS
    # text that is cut may still be text; packed and columnar bytes are not looked into
    if not (fault == "cut" and name.endswith((".txt", ".csv", ".tsv")))
    if not (fault == "latin-1" and not name.endswith(_TEXTUAL))
    if not (fault == "no text" and name.endswith(("parquet", "arrow")))
]


@pytest.mark.parametrize(("name", "fault"), sample(CASES, 30))
def test_what_is_wrong_is_said_in_one_line_with_the_file(name: str, fault: str, tmp_path: Path) -> None:
    path = tmp_path / name
    raw = name.endswith(".jsonl") or name.endswith(".json")
    texts = [""] if fault == "no text" else [*TEXTS, "über"]
    data = FORMATS[name](texts)
    if fault == "latin-1" and raw:
        data = data.replace(b"\\u00fc", "ü".encode())
    path.write_bytes(FAULTS[fault](data))
    with pytest.raises(DataError) as refused:
        prepare(folder_config(path))
    said = str(refused.value)
    assert str(path) in said and "\n" not in said and "; " in said
    if fault in ("cut", "latin-1") and name.endswith(_TEXTUAL):
        assert ", line " in said


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", b'{"text": "x"}\n\n{"text": 3}\n', "a.jsonl, line 3, but must be text"),
        ("a.jsonl", b'{"text": "x"}\n{"body": "y"}\n', "must name a column of {path}, line 2; known: body"),
        ("a.jsonl", b'{"text": "x"}\n{"text": "y"\n', "a.jsonl, line 2, is corrupt or cut short (Expecting"),
        ("a.csv", b'text,id\n"one\ntwo",1\nthree\n', "a.csv, line 4, is corrupt or cut short (1 fields, and"),
        ("a.csv", b'text,id\n"one,1\n', "a.csv, line 2, is corrupt or cut short (unexpected end of data)"),
        ("a.csv", b"body,id\none,1\n", "must name a column of {path}, line 1; known: body, id"),
        ("a.txt", b"one\n\ntw\xff\n", "a.txt, line 3, is corrupt or cut short ('utf-8' codec"),
    ],
)  # fmt: skip
def test_the_line_that_is_wrong_is_named(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError) as refused:
        list(open_text(path, "text", by_blank_lines=True))
    assert words.format(path=path) in str(refused.value)


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r")), min_size=1, max_size=9))
def test_whatever_text_there_is_comes_back(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    texts = ["first", *texts]
    folder = tmp_path_factory.mktemp("text")
    for name in ("a.jsonl", "a.csv", "a.tsv", "a.parquet", "a.arrow"):
        (folder / name).write_bytes(FORMATS[name](texts))
        found = [item for batch in open_text(folder / name, "text") for item in batch]
        assert found == texts, name


def test_small_texts_are_a_document_each_and_a_twentieth_is_held_out(tmp_path: Path) -> None:
    for number, content in enumerate(TEXTS):
        (tmp_path / f"{number:02}.txt").write_text(f"{content}\n\nand more\n")
    (tmp_path / "README.txt").write_text("what this is")
    config = folder_config(tmp_path)
    assert texts_of(config, "train") == [f"{text}\n\nand more" for text in TEXTS[:38]]
    assert texts_of(config, "validation") == [f"{text}\n\nand more" for text in TEXTS[38:]]


def test_a_dataset_that_was_saved_to_disk_is_its_arrow_files(tmp_path: Path) -> None:
    for split, texts in (("train", TEXTS), ("test", TEXTS[:5])):
        folder = tmp_path / split
        folder.mkdir()
        (folder / "data-00000-of-00001.arrow").write_bytes(as_arrow(texts))
        (folder / "dataset_info.json").write_text("{}")
        (folder / "state.json").write_text("{}")
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(DataError, match=r"train dataset\.validation_path=.*/test$"):
        texts_of(folder_config(tmp_path), "train")
    config = folder_config(tmp_path / "train")
    config.dataset.validation_path = str(tmp_path / "test")
    assert texts_of(config, "train") == TEXTS
    with pytest.raises(DataError, match=r"which does not exist on this machine"):
        config.dataset.validation_path = str(tmp_path / "none")
        texts_of(config, "validation")


def test_what_a_map_left_beside_a_saved_dataset_is_none_of_its_text(tmp_path: Path) -> None:
    """It holds the same documents again: what is held out would be trained on."""
    parts = {f"data-0000{part}-of-00002.arrow": TEXTS[part::2] for part in (0, 1)}
    for name, texts in parts.items():
        (tmp_path / name).write_bytes(as_arrow(texts))
    state = {"_data_files": [{"filename": name} for name in parts]}
    (tmp_path / "state.json").write_text(json.dumps(state))
    before = folder_text.digest(str(tmp_path))
    for name in ("cache-0123456789abcdef.arrow", "cache-fedcba_00001_of_00002.arrow", "tmpx1.arrow"):
        (tmp_path / name).write_bytes(as_arrow(TEXTS))
    assert texts_of(folder_config(tmp_path), "train") == TEXTS[::2]
    assert folder_text.digest(str(tmp_path)) == before
    (tmp_path / "state.json").write_text("{")  # nobody knows which: all, as in any folder
    assert len(folder_text.text_files(str(tmp_path))) == 5


def own(tmp_path: Path, name: str, *overrides: str) -> list[str]:
    path = write_parquet(tmp_path / name / "a.parquet", [f"{name} {text}" for text in TEXTS])
    return ["dataset=files", f"dataset.path={path}", *overrides]


def test_a_validation_text_of_ones_own_is_what_datasets_are_compared_on(tmp_path: Path) -> None:
    (tmp_path / "judge.txt").write_bytes(as_paragraphs(sentences(20, 100)))
    shared = f"dataset.validation_path={tmp_path / 'judge.txt'}"
    configs = [compose(own(tmp_path, name, shared, "tokenizer.vocab_size=300")) for name in ("one", "two")]
    configs.append(compose(["dataset=embedded", shared, "tokenizer.vocab_size=300"]))
    prints = set()
    for config in configs:
        assert texts_of(config, "validation") == sentences(20, 100)
        if config.dataset.kind is DatasetKind.files:
            assert len(texts_of(config, "train")) == len(TEXTS)  # nothing is held out of it
            prints.add(prepare(config).streams[0].fingerprint)
    assert len(prints) == 1
    plans = [build.build(config) for config in configs]
    assert len({plan.texts[text.VALIDATION] for plan in plans}) == 1
    assert len({plan.evaluation_key for plan in plans[:2]}) == 1
    (tmp_path / "judge.txt").write_bytes(b"another text")
    assert build.build(configs[0]).run_id != plans[0].run_id


def test_a_sweep_of_datasets_on_their_own_validation_texts_is_refused_when_it_is_planned(
    tmp_path: Path,
) -> None:
    levels = {name: tuple(own(tmp_path, name)) for name in ("one", "two")}
    sweep = SweepFile(
        "mine", base=("experiment=mini",), axes={"text": levels}, reference={"text": "one"}, seeds=(1,)
    )
    with pytest.raises(
        ConfigError, match=r"decision\.metric is 'val_bpb', but must be measured on one text by all"
    ):
        expand.expand_all(sweep)
    (tmp_path / "judge.txt").write_bytes(as_paragraphs(TEXTS))
    expand.expand_all(sweep, [f"dataset.validation_path={tmp_path / 'judge.txt'}"])


def test_a_path_in_place_of_a_dataset_gets_the_line_that_works(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", list(TEXTS))
    with pytest.raises(ConfigError, match=rf"write dataset=files dataset\.path={path}$") as refused:
        compose([f"dataset={path}"])
    line = str(refused.value).rpartition("; write ")[2]
    assert compose(line.split()).dataset.path == str(path)
