"""Losses by document: against a loop over documents, in every layout and dtype; kept, and checked."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_runs import folder, run, tiny

from damages import DAMAGES, damage
from sweepkit.data import token_kinds
from sweepkit.data.prepare import prepare
from sweepkit.distributed.ranks import Ranks
from sweepkit.errors import DamagedError
from sweepkit.results import document_losses
from sweepkit.training.by_document import ByDocument, position_classes, positions
from sweepkit.training.engine import Engine, EngineKey
from sweepkit.training.evaluation import evaluate
from sweepkit.training.session import Session

LESS = "evaluation.max_bytes=12000"


@pytest.mark.parametrize("rows", ["stream", "best_fit", "greedy_crop"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sums_are_those_of_a_loop_over_every_token(rows: str, dtype: torch.dtype) -> None:
    plan = tiny(LESS, f"evaluation.rows={rows}")
    data = prepare(plan.config)
    engine = Engine(plan, EngineKey(plan.compile_key, torch.device("cpu"), dtype, 1, False))
    engine.renew(plan)
    kept: document_losses.Kept = {}
    found = evaluate(engine, data.streams, data.tokenizer, 8, lambda: False, by_document=kept)
    assert found == evaluate(engine, data.streams, data.tokenizer, 8, lambda: False), (
        "nothing is changed by it"
    )
    for stream in data.streams:
        item = kept[stream.name]
        assert item.bits_per_byte == pytest.approx(found[f"bpb_{stream.name}"], rel=1e-12)
        kinds, ends = token_kinds.kinds(stream.tokens, data.tokenizer), np.cumsum(stream.tokens.doc_lengths)
        nats, size = np.zeros((2, len(ends)))
        by_kind, by_position = np.zeros(5), np.zeros(len(positions(plan.sequence_len)))
        for (inputs, targets), places in zip(stream.batches(8), stream.places(8), strict=True):
            lost = engine.nats(torch.from_numpy(inputs), torch.from_numpy(targets)).numpy()
            for row, column in zip(*np.nonzero(targets >= 0), strict=True):
                place = places[row, column]
                doc = next(number for number, end in enumerate(ends) if place < end)
                nats[doc] += float(lost[row, column])
                size[doc] += len(data.tokenizer.tokens[targets[row, column]])
                by_kind[kinds[place]] += float(lost[row, column])
                by_position[min(len(by_position) - 1, int(column >= 16) + int(column >= 64))] += float(
                    lost[row, column]
                )
        assert item.nats_N == pytest.approx(nats, rel=1e-9)
        assert item.text.bytes_N.tolist() == size.tolist()
        assert item.class_nats["kind"].sum(axis=0) == pytest.approx(by_kind, rel=1e-9)
        assert item.class_nats["position"].sum(axis=0) == pytest.approx(by_position, rel=1e-9)
        for how, classes in item.text.classes.items():
            assert classes.bytes_GC.sum() == size.sum() and len(classes.names) == classes.bytes_GC.shape[1], (
                how
            )
        assert (item.text.length_N >= item.text.bytes_N).all()
        assert rows != "stream" or (item.text.length_N == item.text.bytes_N).all()


def test_ranks_add_up_to_what_one_finds() -> None:
    plan = tiny(LESS)
    data = prepare(plan.config)
    stream, rng = data.streams[0], np.random.default_rng(1)
    alone, *shares = (ByDocument(stream, data.tokenizer, 8) for _ in range(3))
    for index, ((_, targets), place) in enumerate(zip(stream.batches(8), stream.places(8), strict=True)):
        nats = rng.random(targets.shape, dtype=np.float32)
        num_bytes = np.where(targets >= 0, data.tokenizer.token_bytes[targets], 0)
        for sums in (alone, shares[index % 2]):
            sums.add(place, nats, num_bytes)

    class Both(Ranks):
        def sum(self, tensor: torch.Tensor) -> torch.Tensor:
            other = shares[1]
            return tensor + torch.from_numpy(
                np.concatenate([part.ravel() for part in (other._docs, *other._classes.values())])
            )

    one, two = alone.finish(Ranks()), shares[0].finish(Both())
    assert two.nats_N == pytest.approx(one.nats_N, rel=1e-12)
    assert two.text.bytes_N.tolist() == one.text.bytes_N.tolist()
    for how, nats_GC in one.class_nats.items():
        assert two.class_nats[how] == pytest.approx(nats_GC, rel=1e-12)


def test_positions_are_of_growing_classes() -> None:
    for length, names in ((8, ["0–7"]), (64, ["0–15", "16–63"]), (100, ["0–15", "16–63", "64–99"])):
        assert positions(length) == names
        found = [names[place] for place in position_classes(length)]
        assert all(int(name.split("–")[0]) <= at <= int(name.split("–")[1]) for at, name in enumerate(found))


@pytest.mark.slow
def test_a_run_keeps_them_an_evaluation_its_own_and_nothing_damaged_is_believed(
    session: Session, tmp_path: Path
) -> None:
    plan = tiny("horizon.num_steps=3", "optimizer.ema_decay=0.7", "evaluation.every_steps=1", LESS)
    record = run(session, plan, tmp_path)
    run_dir, key = folder(plan, tmp_path), plan.evaluation_key
    kept = document_losses.read(run_dir, key, record.results)
    assert list(kept) == ["validation", "probe", "ema_validation", "ema_probe"]
    for name, item in kept.items():
        averaged, stream = ("ema_", name.removeprefix("ema_")) if name.startswith("ema_") else ("", name)
        stated = record.results[f"{averaged}bpb_{stream}"]
        assert stated is not None and math.isclose(item.bits_per_byte, stated, rel_tol=1e-12)
    path = document_losses.path(run_dir, key)
    assert path.stat().st_size < 20_000
    other = tiny(
        "horizon.num_steps=3",
        "optimizer.ema_decay=0.7",
        "evaluation.every_steps=1",
        "evaluation.max_bytes=8000",
    )
    again = session.evaluate(other, run_dir)
    assert len(document_losses.read(run_dir, other.evaluation_key, again.results)["validation"].nats_N) > 0
    with pytest.raises(FileNotFoundError):
        document_losses.read(run_dir, "0" * 12, record.results)
    with pytest.raises(DamagedError, match="do not sum to bpb_validation of the record beside it"):
        document_losses.read(run_dir, key, record.results | {"bpb_validation": 1.0})
    content = path.read_bytes()
    for how in DAMAGES:
        damage(path, how)
        with pytest.raises(DamagedError):
            document_losses.read(run_dir, key, record.results)
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()
        path.write_bytes(content)
    first = kept["validation"]
    document_losses.write(run_dir, key, {"validation": replace(first, nats_N=first.nats_N[::-1].copy())})
    swapped = document_losses.read(run_dir, key, record.results)
    assert swapped["validation"].nats_N.tolist() == first.nats_N[::-1].tolist(), "what is written is read"


def test_every_byte_of_the_file_counts(tmp_path: Path, session: Session) -> None:
    plan = tiny("horizon.num_steps=2", "evaluation.max_bytes=2000", "evaluation.streams=[validation]")
    record = run(session, plan, tmp_path)
    run_dir, key = folder(plan, tmp_path), plan.evaluation_key
    path = document_losses.path(run_dir, key)
    content, believed = path.read_bytes(), document_losses.read(run_dir, key, record.results)["validation"]
    listed = content.index(b"PK\x01\x02")  # with the version that it needs, and whether it is encrypted
    flips = [(place, 1 << place % 8) for place in range(0, len(content), 41)]
    for place, bit in [*flips, (listed + 6, 0x40), (listed + 8, 0x01), (listed + 8, 0x20)]:
        path.write_bytes(content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :])
        try:
            found = document_losses.read(run_dir, key, record.results)["validation"]
        except DamagedError:
            continue
        # what a zip says of itself (dates, versions) is not content
        assert found.nats_N.tolist() == believed.nats_N.tolist()
