"""Bundles: zip and folder are one, a pin holds, and what is damaged is refused by the task that needs it."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

import from_scripts
import sweepkit
from sweepkit import fsio
from sweepkit.config.compose import compose
from sweepkit.config.schema import CoreConfig
from sweepkit.data import core_items, core_prompts
from sweepkit.errors import SweepkitError
from sweepkit.plan import core_bundle
from sweepkit.plan.build import build
from sweepkit.report import findings

OWN = Path(sweepkit.__file__).parent / "data" / "core"


@pytest.mark.parametrize(
    ("split", "folder"),
    [("validation", OWN), ("probe", Path(__file__).parents[2] / "sweeps" / "findings" / "neutral_items")],
)
def test_our_own_bundles_are_what_the_script_makes(split: str, folder: Path) -> None:
    made = from_scripts.script("make_core_bundle").files(split)
    assert made == {name: (folder / name).read_text() for name in made}
    loaded = core_items.load(config(folder))
    assert loaded is not None and not loaded.is_whole, "items of our own are no CORE"
    assert [len(asked.items) for asked in loaded.tasks] == [80, 80, 80]


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package's, in a folder of its own."""
    monkeypatch.setenv("SWEEPKIT_CACHE_DIR", str(tmp_path / "cache"))
    return Path(shutil.copytree(OWN, tmp_path / "eval_bundle"))


def zipped(folder: Path, path: Path, inside: str = "eval_bundle/") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("__MACOSX/eval_bundle/core.yaml", "no bundle")
        for file in sorted(folder.rglob("*.*")):
            archive.writestr(f"{inside}{file.relative_to(folder)}", file.read_bytes())  # keeps a ./ in front
    return path


def config(place: object, **others: Any) -> CoreConfig:
    return CoreConfig(bundle=str(place), **others)


def test_a_zip_its_folder_and_the_folder_above_are_one_bundle(bundle: Path, tmp_path: Path) -> None:
    places = [
        bundle,
        bundle.parent,
        zipped(bundle, tmp_path / "a.zip"),
        zipped(bundle, tmp_path / "b.zip", ""),
        zipped(bundle, tmp_path / "c.zip", "./"),
    ]
    digests = {core_bundle.digest(config(place)) for place in (*places, "embedded")}
    assert len(digests) == 1
    loaded = [core_items.load(config(place)) for place in places]
    assert all(core == loaded[0] for core in loaded)
    assert core_bundle.digest(config(bundle, tasks=["endings"])) not in digests
    line = bundle / "eval_data" / "endings.jsonl"
    line.write_text(line.read_text().replace("the", "The", 1))
    assert core_bundle.digest(config(bundle)) not in digests


def test_the_bundle_is_in_the_key_of_an_evaluation_and_its_place_is_not(bundle: Path) -> None:
    def key(*overrides: str) -> str:
        return build(compose(["evaluation=core", *overrides])).evaluation_key

    assert key() == key(f"evaluation.core.bundle={bundle}") == key("evaluation.core.url=https://elsewhere")
    others = {
        key(),
        key("evaluation.core.max_per_task=5"),
        key("evaluation.core.tasks=[endings]"),
        key("evaluation=default"),
    }
    assert len(others) == 4


def test_a_pin_holds(bundle: Path, tmp_path: Path) -> None:
    path = zipped(bundle, tmp_path / "a.zip")
    assert core_items.load(config(path, sha256=fsio.sha256(path)))
    with pytest.raises(SweepkitError, match="has the SHA-256"):
        core_items.load(config(path, sha256="0" * 64))


def test_numbers_are_asked_as_text(bundle: Path) -> None:
    path = bundle / "eval_data" / "endings.jsonl"
    path.write_text('{"query": 12, "choices": [3, 4.5, "x"], "gold": 1}\n')
    core = core_items.load(config(bundle, tasks=["endings"]))
    assert core is not None and core.tasks[0].items == [
        {"query": "12", "choices": ["3", "4.5", "x"], "gold": 1}
    ]


def missing(bundle: Path) -> None:
    (bundle / "eval_data" / "beginnings.jsonl").unlink()


def cut(bundle: Path) -> None:
    path = bundle / "eval_data" / "beginnings.jsonl"
    path.write_bytes(path.read_bytes()[:-20])


def without_baseline(bundle: Path) -> None:
    path = bundle / "eval_meta_data.csv"
    path.write_text(path.read_text().replace("beginnings,50\n", ""))


def without_gold(bundle: Path) -> None:
    path = bundle / "eval_data" / "beginnings.jsonl"
    items = [json.loads(line) for line in path.read_text().splitlines()]
    items[3]["gold"] = 2
    path.write_text("\n".join(map(json.dumps, items)))


def of_another_kind(bundle: Path) -> None:
    path = bundle / "core.yaml"
    path.write_text(path.read_text().replace("icl_task_type: schema", "icl_task_type: generation"))


def too_few(bundle: Path) -> None:
    path = bundle / "core.yaml"
    path.write_text(
        path.read_text().replace(
            "beginnings.jsonl\n  num_fewshot: [0]", "beginnings.jsonl\n  num_fewshot: [80]"
        )
    )


def edited(**fields: Any) -> Callable[[Path], None]:
    """Fields of the second task, as a bundle's maker may have got them wrong."""

    def damage(bundle: Path) -> None:
        path = bundle / "core.yaml"
        content = yaml.safe_load(path.read_text())
        content["icl_tasks"][1] |= fields
        path.write_text(yaml.safe_dump(content))
        chance = bundle / "eval_meta_data.csv"
        chance.write_text(chance.read_text().replace("beginnings,", f"{fields.get('label', 'beginnings')},"))

    return damage


def half_a_character(bundle: Path) -> None:
    path = bundle / "eval_data" / "beginnings.jsonl"
    path.write_text(path.read_text().replace('"continuation": "', '"continuation": "\\ud83d', 1))


WRONG = {
    "multiple_choice, schema, language_modeling": edited(icl_task_type="multiple_choise"),
    "is \\['schema'\\], none of": edited(icl_task_type=["schema"]),
    "is -1, no whole number": edited(num_fewshot=-1),
    "no file below eval_data": edited(dataset_uri="../beginnings.jsonl"),
    "is None, no text": edited(continuation_delimiter=None),
    "^subset of .* label in core.yaml is 'subset', no name of its own": edited(label="subset"),
    "^se_endings of .* no name of its own": edited(label="se_endings"),
    "line 1 of .* has no text 'continuation'": half_a_character,
}


@pytest.mark.parametrize("words", WRONG)
def test_what_its_maker_got_wrong_is_said(words: str, bundle: Path) -> None:
    WRONG[words](bundle)
    with pytest.raises(SweepkitError, match=words):
        core_items.load(config(bundle))


def test_what_other_makers_do_otherwise_is_read(bundle: Path, tmp_path: Path) -> None:
    """Line ends and marks of Windows, folders within folders, names with a slash: items stay the same."""
    want = core_items.load(config(bundle))
    edited(label="a/b", dataset_uri="./sub//deep/beginnings.jsonl")(bundle)
    items = bundle / "eval_data" / "sub" / "deep" / "beginnings.jsonl"
    items.parent.mkdir(parents=True)
    (bundle / "eval_data" / "beginnings.jsonl").rename(items)
    for path in (items, bundle / "core.yaml", bundle / "eval_meta_data.csv"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_text().replace("\n", "\r\n").encode())
    for place in (bundle, zipped(bundle, tmp_path / "a.zip", "./top/inner/")):
        core = core_items.load(config(place))
        assert core is not None and want is not None and core.tasks[1].task.label == "a/b"
        assert [asked.items for asked in core.tasks] == [asked.items for asked in want.tasks]


def test_what_is_called_gold_in_other_items_says_nothing(bundle: Path) -> None:
    path = bundle / "eval_data" / "next_word.jsonl"
    path.write_text(path.read_text().replace('{"context"', '{"gold": "the", "context"'))
    core = core_items.load(config(bundle, tasks=["next_word"]))
    assert core is not None
    tokenizer: Any = SimpleNamespace(
        bos_id=0, encode_batch=lambda texts: [list(text.encode()) for text in texts]
    )
    (question,) = core_prompts.questions(core.tasks[0], [3], tokenizer, 4096)
    assert (
        question.gold == 0
        and bytes(question.sequences[0].tokens[1:]).decode() == core_prompts.prompts(core.tasks[0], 3)[1]
    )


@pytest.mark.parametrize("damage", [missing, cut, without_baseline, without_gold, of_another_kind, too_few])
def test_what_is_damaged_is_refused_by_its_task(
    damage: Callable[[Path], None], bundle: Path, tmp_path: Path
) -> None:
    damage(bundle)
    for place in (bundle, zipped(bundle, tmp_path / "a.zip")):
        with pytest.raises(SweepkitError, match="beginnings of the evaluation bundle"):
            core_items.load(config(place))
    if damage in (missing, cut, without_gold, too_few):
        assert core_items.load(config(bundle, tasks=["endings", "next_word"])), "the others can be asked"


def test_a_damaged_zip_and_what_is_no_bundle(bundle: Path, tmp_path: Path) -> None:
    path = zipped(bundle, tmp_path / "a.zip")
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(SweepkitError, match="of the evaluation bundle"):
        core_items.load(config(path))
    for name in ("core.yaml", "eval_meta_data.csv"):
        whole = zipped(bundle, tmp_path / "a.zip").read_bytes()
        with zipfile.ZipFile(path) as archive:
            begin = archive.getinfo(f"eval_bundle/{name}").header_offset + 30 + len(f"eval_bundle/{name}")
        path.write_bytes(whole[:begin] + b"\xff" + whole[begin + 1 :])
        with pytest.raises(SweepkitError, match=rf"{name} cannot be read"):
            core_items.load(config(path))
    path.write_bytes(bytes(content)[: len(content) // 2])
    with pytest.raises(SweepkitError, match="no whole zip"):
        core_items.load(config(path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(SweepkitError, match=r"core\.yaml is missing"):
        core_items.load(config(tmp_path / "empty"))
    with pytest.raises(SweepkitError, match="does not exist"):
        build(compose(["evaluation=core", "evaluation.core.bundle=nowhere.zip"]))
    with pytest.raises(SweepkitError, match="did you mean 'endings'"):
        core_items.load(config(bundle, tasks=["ending"]))


def test_a_download_keeps_what_it_had_first(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import file_download

    served = [zipped(bundle, tmp_path / "a.zip")]

    def get(url: str, file: Any, **_: object) -> None:
        if not served:
            raise OSError("no route to host")
        file.write(served[0].read_bytes())

    monkeypatch.setattr(file_download, "http_get", get)
    asked = config("download", url="https://example.org/eval_bundle.zip")
    with pytest.raises(SweepkitError, match="never fetched here"):
        core_bundle.digest(asked)
    core = core_items.load(asked)
    assert core is not None and core.digest == core_bundle.digest(config(bundle))
    place = core_bundle.download_path(asked)
    kept = fsio.read_json(place.with_name("download.json"))
    assert kept["sha256_of_zip"] == fsio.sha256(place)
    served[0] = zipped(bundle, tmp_path / "b.zip", "other/")
    assert core_items.load(asked) == core, "it is not fetched again"
    place.write_bytes(b"damaged")
    with pytest.raises(SweepkitError, match="gave first"):
        core_items.load(asked)
    served.clear()
    with pytest.raises(SweepkitError, match="must be reachable"):
        core_items.load(asked)


def test_only_all_22_tasks_are_core() -> None:
    task = core_bundle.Task("x", "x", core_bundle.TaskKind.schema, 0, " ", 50)
    from dataclasses import replace

    every = [core_items.AskedTask(replace(task, label=label), [{}]) for label in core_items.CORE_TASKS]
    assert len(every) == 22 and core_items.Core("", every, None).is_whole
    assert not core_items.Core("", every[1:], None).is_whole
    assert not core_items.Core("", [*every[1:], replace(every[0], left_out=1)], 5).is_whole
    cut, whole = (core_items.load(CoreConfig(bundle="embedded", max_per_task=most)) for most in (9, 1_000))
    assert cut is not None and {asked.left_out for asked in cut.tasks} == {71}
    assert whole is not None and not any(asked.left_out for asked in whole.tasks)


def test_the_commands_of_the_page_say_what_can_be_asked() -> None:
    page = (Path(__file__).parents[2] / "docs" / "core.md").read_text()
    commands = re.findall(r"^    sweepkit (.+?)(?:  +#.*)?$", page, re.MULTILINE)
    assert len(commands) == 6
    for line in commands:
        if overrides := [item for item in line.split() if "=" in item]:
            assert compose(overrides).evaluation.core.bundle is not None, line
    assert "results x0_beta1 --analysis tasks" in commands and "tasks" in findings.KINDS
