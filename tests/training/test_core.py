"""Tasks asked in batches give what a plain loop gives, item by item; they are kept, and go on from there."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plain_core
import pytest
import torch
from training_runs import MANY_PARTS, folder, run, tiny

import sample
from sweepkit.config.schema import CoreConfig
from sweepkit.data import core_items
from sweepkit.data.prepare import prepare
from sweepkit.data.tokenizer import Tokenizer
from sweepkit.distributed.ranks import Ranks
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results import core_outcomes, store
from sweepkit.results.record import RunState
from sweepkit.training import core_run
from sweepkit.training.engine import Engine, EngineKey
from sweepkit.training.session import Session

WORDS = [
    "the",
    "of",
    "and",
    "to",
    "a",
    "ship",
    "whale",
    "captain",
    "sea",
    "old",
    "man",
    "white",
    "head",
    "night",
    "day",
    "great",
    "hand",
    "water",
    "12",
    "345",
    "café",
    "naïve",
    "日本",
    "語",
    "Ωμέγα",
    "שלום",
    "😀👍🏽",
    "é",
    "\u2028",
    "\xa0",
    "x\ty",
    "a-b",
    '"q"',
    "don't",
    "...",
    "?!",
    "\u200b",
    "½",
    "ﬁ",
    "𝕏",
]


def phrase(rng: random.Random, low: int, high: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(low, high)))


def choice_item(rng: random.Random, longest: int) -> dict[str, Any]:
    choices = [phrase(rng, 1, 5) for _ in range(rng.randint(2, 5))]
    if rng.random() < 0.2:
        choices[-1] = choices[0]  # a tie, which the first wins
    if rng.random() < 0.2:
        choices[-1] = f"{choices[0]} {phrase(rng, 1, 2)}"  # one is the beginning of the other
    return {"query": phrase(rng, 1, longest), "choices": choices, "gold": rng.randrange(len(choices))}


def schema_item(rng: random.Random, longest: int) -> dict[str, Any]:
    begin, end = phrase(rng, 1, longest), phrase(rng, 0, 2)
    options = [f"{begin} {word} {phrase(rng, 0, 1)} {end}" for word in rng.sample(WORDS, 2)]
    return {"context_options": options, "continuation": phrase(rng, 1, 5), "gold": rng.randrange(2)}


def text_item(rng: random.Random, longest: int) -> dict[str, Any]:
    return {"context": f" {phrase(rng, 1, longest)} \n", "continuation": f"{rng.choice('abcdefgh')}"}


#: Kind and shots of items whose continuation the model itself has written, where it can be.
WRITTEN = ("language_modeling", 0)
KINDS = {"multiple_choice": choice_item, "schema": schema_item, "language_modeling": text_item}


def write(place: Path, tasks: dict[str, tuple[str, int, str, Sequence[dict[str, Any]]]]) -> Path:
    """A bundle: label → kind, shots, delimiter and items."""
    (place / "eval_data" / "inner").mkdir(parents=True)
    lines, chance = ["icl_tasks:"], ["Eval Task,Random baseline,Other"]
    for label, (kind, shots, delimiter, items) in tasks.items():
        lines += [
            f"- {{label: {label}, dataset_uri: inner/{label}.jsonl, num_fewshot: [{shots}],",
            f"   icl_task_type: {kind}, continuation_delimiter: {json.dumps(delimiter)}}}",
        ]
        chance.append(f"{label},{ {'multiple_choice': 25, 'schema': 50}.get(kind, 0) },x")
        text = "".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items)
        (place / "eval_data" / "inner" / f"{label}.jsonl").write_text(text, encoding="utf-8")
    (place / "core.yaml").write_text("\n".join(lines))
    (place / "eval_meta_data.csv").write_text("\n".join(chance))
    return place


def made(plan: RunPlan, seed: int = 0) -> Engine:
    """Weights that are all moved, and loud enough that tokens differ."""
    engine = Engine(plan, EngineKey("", torch.device("cpu"), torch.float32, 1, False))
    engine.model.initialize(1)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in engine.model.named_parameters():
            scale = 0.3 if name.endswith("weight") else 0.1
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return engine


def likely(engine: Engine, tokenizer: Tokenizer, items: list[dict[str, Any]], most: int) -> None:
    """Let the model be right about some continuations, one token or several."""
    for number, item in enumerate(items):
        text = item["context"].strip()
        ids = [tokenizer.bos_id, *tokenizer.encode(text)]
        for _ in range(1 + number % 2):
            with torch.no_grad():
                logits = engine.model(torch.tensor([ids[-most:]]))[0, -1]
            ids.append(int(logits.argmax()))
        written = tokenizer.decode(ids[1:])
        again = [tokenizer.bos_id, *tokenizer.encode(written)]
        if again == ids and written[len(text) :].startswith(" ") and written[len(text) :].strip():
            item["continuation"] = written[len(text) + 1 :]


def asked(bundle: Path, **others: Any) -> core_items.Core:
    core = core_items.load(CoreConfig(bundle=str(bundle), **others))
    assert core is not None
    return core


def outcomes_of(engine: Engine, core: core_items.Core, tokenizer: Tokenizer, plan: RunPlan) -> dict[str, Any]:
    shape = (plan.device_batch_size, plan.sequence_len)
    found = [
        core_run.ask(engine, task, tokenizer, shape, lambda: False, lambda _: None) for task in core.tasks
    ]
    return {outcome.label: outcome for outcome in found}


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    sample.sample(
        [
            (),
            ("model.short_window=16", "model.window_pattern=SL", "model.num_kv_heads=1"),
            (*MANY_PARTS, "schedule.batch_ramp=[1]", "horizon.device_batch_size=8"),
        ],
        1,
    ),
)
def test_every_item_comes_out_as_in_a_plain_loop(overrides: tuple[str, ...], tmp_path: Path) -> None:
    plan = tiny("horizon.sequence_len=128", "horizon.total_batch_size=1024", *overrides)
    engine, tokenizer, rng = made(plan), prepare(plan.config).tokenizer, random.Random(5)
    tasks = {}
    for kind, make in KINDS.items():
        for shots, longest in ((0, 8), (0, 120), (3, 3), (10, 12)):
            label = f"{kind}_{shots}_{longest}"
            items = [make(rng, longest) for _ in range(40 if (kind, shots) == WRITTEN else 11)]
            tasks[label] = (kind, shots, " ", items)
            if (kind, shots) == WRITTEN:
                likely(engine, tokenizer, items, plan.sequence_len)
    bundle = write(tmp_path / "bundle", tasks)

    def logits(batch: torch.Tensor) -> torch.Tensor:
        with torch.no_grad(), engine.evaluating():
            found: torch.Tensor = engine.model(batch)
        return found

    for most in (-1, 12):
        core = asked(bundle, max_per_task=most if most > 0 else None)
        found = outcomes_of(engine, core, tokenizer, plan)
        mean, plain, centred = plain_core.evaluate(
            bundle, tokenizer.encode, tokenizer.bos_id, logits, plan.sequence_len, most
        )
        for label, items in plain.items():
            assert found[label].correct == "".join(str(int(right)) for right, _ in items), label
            if found[label].chosen:
                assert found[label].chosen == " ".join(str(choice) for _, choice in items), label
            assert found[label].centred == pytest.approx(centred[label], abs=1e-12)
        every = "".join(outcome.correct for label, outcome in found.items() if label.startswith("lang"))
        assert {"0", "1"} == set(every), "some continuations are right and some are not"
        scores = core_outcomes.scores(list(found.values()), is_whole=False)
        assert scores["core_subset"] == pytest.approx(mean, abs=1e-12) and "core" not in scores


ASKED = ("evaluation=core", "evaluation.core.max_per_task=10", "horizon.num_steps=3")


@pytest.mark.slow
def test_a_run_is_asked_at_its_end_and_its_kept_weights_again(session: Session, tmp_path: Path) -> None:
    plan, plainly = tiny(*ASKED), tiny("horizon.num_steps=3")
    assert plan.run_id == plainly.run_id and plan.evaluation_key != plainly.evaluation_key
    record = run(session, plan, tmp_path)
    assert record.state is RunState.complete, record.failure_message
    found = core_outcomes.read(folder(plan, tmp_path), plan.evaluation_key)
    assert found is not None and not found.is_whole
    tasks = found.models[""].tasks
    assert {label: len(task.correct) for label, task in tasks.items()} == {
        "endings": 10, "beginnings": 10, "next_word": 10,
    }  # fmt: skip
    centred = [record.results[f"core_{label}"] for label in tasks]
    assert record.results["core_subset"] == pytest.approx(sum(map(float, centred)) / 3)  # type: ignore[arg-type]
    assert "core" not in record.results and record.texts["core"].digest == found.bundle
    share = tasks["endings"].accuracy
    assert record.results["core_se_endings"] == pytest.approx((share * (1 - share) / 10) ** 0.5 / 0.75)
    assert not any("core" in row for row in folder(plan, tmp_path).metrics())

    other = tmp_path / "other"
    run(session, plainly, other)
    again = Session().evaluate(plan, folder(plan, other))
    assert again.state is RunState.complete, again.failure_message
    scores = {name: value for name, value in record.results.items() if core_outcomes.is_score(name)}
    assert scores and {name: again.results.get(name) for name in scores} == scores
    assert again.evaluation_fingerprints == record.evaluation_fingerprints
    frame = store.of_plans([plan], other)
    assert frame["core_subset"].iloc[0] == scores["core_subset"] and frame["core"].isna().all()


@pytest.mark.slow
def test_what_was_stopped_goes_on_with_the_next_task(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, plainly = (
        tiny(*ASKED, "optimizer.ema_decay=0.7"),
        tiny("horizon.num_steps=3", "optimizer.ema_decay=0.7"),
    )
    run(session, plainly, tmp_path)
    run_dir, real, asked_tasks = folder(plan, tmp_path), core_run.ask, []

    def stopping(*args: Any) -> Any:
        if len(asked_tasks) == 4:
            raise KeyboardInterrupt
        asked_tasks.append(args[1].task.label)
        return real(*args)

    monkeypatch.setattr(core_run, "ask", stopping)
    assert session.evaluate(plan, run_dir).state is RunState.preempted
    kept = core_outcomes.read(run_dir, plan.evaluation_key)
    assert kept is not None and [len(model.tasks) for model in kept.models.values()] == [3, 1]
    asked_tasks.clear()
    record = session.evaluate(plan, run_dir)
    assert record.state is RunState.complete, record.failure_message
    assert asked_tasks == ["beginnings", "next_word"], "those of the averaged weights that were not done"
    assert {"core_subset", "ema_core_subset", "ema_core_endings"} <= record.results.keys()
    asked_tasks.clear()
    run_dir.evaluation_path(plan.evaluation_key).unlink()
    core_outcomes.path(run_dir, plan.evaluation_key).write_text("{")
    monkeypatch.setattr(core_run, "ask", lambda *args: asked_tasks.append(args[1].task.label) or real(*args))
    again = session.evaluate(plan, run_dir)
    assert len(asked_tasks) == 6, "what cannot be read is asked again"
    scores = {name: value for name, value in record.results.items() if core_outcomes.is_score(name)}
    assert {name: again.results[name] for name in scores} == scores


def test_ranks_share_the_items(tmp_path: Path) -> None:
    """Each does every other item; their sum is what one process finds."""
    plan = tiny()
    engine, tokenizer = made(plan), prepare(plan.config).tokenizer
    core = core_items.load(CoreConfig(bundle="embedded", max_per_task=9))
    assert core is not None
    alone = outcomes_of(engine, core, tokenizer, plan)

    class Half(Ranks):
        def sum(self, tensor: torch.Tensor) -> torch.Tensor:
            sums.append(tensor)
            return tensor

    for task in core.tasks:
        sums: list[torch.Tensor] = []
        for rank in range(2):
            engine.ranks = Half(rank, 2)
            core_run.ask(engine, task, tokenizer, (8, 64), lambda: False, lambda _: None)
        together = (sums[0] + sums[1])[0].tolist()
        assert "".join(map(str, together)) == alone[task.task.label].correct
