"""Fields about files of text name a run by what they come out as, and by nothing where nothing reads them."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sweepkit.config.compose import compose
from sweepkit.plan.build import build

ROWS = ("dataset=files", "dataset.path=one")
OWN_VALIDATION = (*ROWS, "dataset.validation_path=one.parquet")
PLAIN = ("dataset=files", "dataset.path=four")
HUB = ("dataset=climbmix", f"dataset.revision={'1' * 40}")
#: Override → texts for which nothing reads it, and one for which something does.
UNREAD = {
    "dataset.validation_shards=2": (
        [ROWS, OWN_VALIDATION],
        PLAIN,
    ),  # a single file; a text of its own
    "dataset.txt_document=paragraph": ([ROWS, OWN_VALIDATION], PLAIN),  # files of rows
    "dataset.txt_document=file": ([PLAIN], ("dataset=files", "dataset.path=four/a.txt")),  # as auto comes out
    "dataset.text_column=words": ([PLAIN], ROWS),  # no columns
}


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with a file of rows, ``one``, a file beside it, and a folder of plain text, ``four``."""
    monkeypatch.chdir(tmp_path)
    for path in (Path("one/a.parquet"), Path("one.parquet")):
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.table({"text": [f"a {path}", "b"], "words": ["c", "d"]}), path)
    Path("four").mkdir()
    for name in "abc":
        Path(f"four/{name}.txt").write_text(f"{name}\n\nand more\n")


def keys(*overrides: str) -> list[str]:
    plan = build(compose(overrides))
    return [plan.run_id, plan.training_id, plan.evaluation_key, plan.pair_key, plan.compile_key]


@pytest.mark.parametrize("override", UNREAD)
def test_what_nothing_of_a_text_reads_names_no_other_run(override: str) -> None:
    unread, read = UNREAD[override]
    for base in unread:
        assert keys(*base) == keys(*base, override), base
    assert keys(*read)[0] != keys(*read, override)[0]


@pytest.mark.parametrize("dataset", [(), HUB])
def test_how_validation_text_of_ones_own_is_cut_names_runs_on_any_dataset(dataset: tuple[str, ...]) -> None:
    plain, rows = (*dataset, "dataset.validation_path=four"), (*dataset, "dataset.validation_path=one")
    assert keys(*plain)[0] != keys(*plain, "dataset.txt_document=paragraph")[0]
    assert keys(*rows)[0] != keys(*rows, "dataset.text_column=words")[0]
