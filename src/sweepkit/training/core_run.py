"""Asking a model the tasks of a bundle: batched, on all ranks, and from the first task that is not done yet.

Of several ranks each takes every so many-th item; what they found is summed, and the leader keeps it. Which
items are asked how is ``data/core_prompts.py``'s; how they become batches ``data/core_rows.py``'s.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from sweepkit import fsio
from sweepkit.config import sources, typed
from sweepkit.data.core_items import AskedTask, Core
from sweepkit.data.core_prompts import Question, questions
from sweepkit.data.core_rows import Answers, Rows, batches
from sweepkit.data.tokenizer import Tokenizer
from sweepkit.model.branched import BranchedRows
from sweepkit.plan.core_bundle import TaskKind
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results import core_outcomes
from sweepkit.results.core_outcomes import ModelOutcome, Outcomes, TaskOutcome
from sweepkit.results.record import RunDir
from sweepkit.training.engine import Engine
from sweepkit.training.failure import Diverged, Stopped

#: Items that are made into batches at a time.
_AT_ONCE = 512


def evaluate(
    engine: Engine,
    core: Core,
    tokenizer: Tokenizer,
    plan: RunPlan,
    run_dir: RunDir,
    environment: str | None,
    ema: str,
    should_stop: Callable[[], bool],
    report: Callable[[str, float], None],
) -> dict[str, float]:
    """Scores of the weights that the engine holds, by column.

    Args:
        environment: fingerprint of where they are computed.
        ema: before the names of these weights' losses.
        should_stop: polled at the same places on all ranks.
        report: told which task is asked, and which part of all items is done.

    Raises:
        Stopped: ``should_stop`` said so; tasks that are done stay so.
        Diverged: the model gives no number.
        ImpossibleError: an item does not go with the tokenizer or with T.
    """
    ranks = engine.ranks
    made_by = fsio.digest([_digest(engine), environment, sources.digest()]) if ranks.leads else ""
    kept = core_outcomes.read(run_dir, plan.evaluation_key) if ranks.leads else None
    known = kept.models.get(ema) if kept else None
    done = known.tasks if known and known.made_by == made_by else {}
    done = typed.load(dict[str, TaskOutcome], ranks.word(typed.dump(done)))
    outcomes = kept or Outcomes(core.is_whole, core.digest)
    total = sum(len(asked.items) for asked in core.tasks)
    before = 0
    for asked in core.tasks:
        label = asked.task.label
        if label not in done or len(done[label].correct) != len(asked.items):
            told = _Report(report, label, before, total)
            done[label] = ask(engine, asked, tokenizer, _shape(plan), should_stop, told)
            if ranks.leads:
                models = outcomes.models | {ema: ModelOutcome(made_by, dict(done))}
                outcomes = replace(outcomes, models=models)
                core_outcomes.write(run_dir, plan.evaluation_key, outcomes)
        before += len(asked.items)
    scores = core_outcomes.scores([done[asked.task.label] for asked in core.tasks], core.is_whole)
    return {f"{ema}{name}": value for name, value in scores.items()}


class _Report:
    """From items of a task to the share of all items."""

    def __init__(self, report: Callable[[str, float], None], label: str, before: int, total: int) -> None:
        self._report, self._label, self._before, self._total = report, label, before, total

    def __call__(self, num_items: float) -> None:
        self._report(self._label, (self._before + num_items) / self._total)


def ask(
    engine: Engine,
    asked: AskedTask,
    tokenizer: Tokenizer,
    shape: tuple[int, int],
    should_stop: Callable[[], bool],
    report: Callable[[float], None],
) -> TaskOutcome:
    """One task.

    Args:
        shape: B and T of the graphs that are compiled.
        report: told how many of its items are done.
    """
    ranks, num_items = engine.ranks, len(asked.items)
    found = torch.zeros(2, num_items, dtype=torch.int64)  # right or not, and the choice
    for first in range(0, num_items, _AT_ONCE * ranks.size):
        if should_stop():
            raise Stopped(f"asked to stop while asking {asked.task.label}")
        end = min(first + _AT_ONCE * ranks.size, num_items)
        mine = range(first + ranks.rank, end, ranks.size)
        together = questions(asked, mine, tokenizer, shape[1])
        answers = Answers()
        for question in together:
            answers.add(question, shape[1])
        stop = should_stop if ranks.size == 1 else lambda: False  # ranks have unlike numbers of batches
        mean, is_best = _answered(engine, answers, tokenizer.bos_id, shape, stop, asked.task.label)
        for question, numbers in zip(together, answers.of, strict=True):
            right, choice = _outcome(asked.task.kind, question, numbers, mean, is_best)
            found[:, question.index] = torch.tensor([right, choice])
        report(end)
    correct, chosen = ranks.sum(found).tolist()
    is_chosen = asked.task.kind is not TaskKind.language_modeling
    return TaskOutcome(
        asked.task.label,
        asked.task.kind.value,
        asked.task.baseline,
        "".join(map(str, correct)),
        " ".join(map(str, chosen)) if is_chosen else "",
    )


def _outcome(
    kind: TaskKind, question: Question, numbers: Sequence[int], mean: Sequence[float], is_best: Sequence[bool]
) -> tuple[bool, int]:
    """Whether it is right, and which choice it is: the first of the lowest mean losses, as ``min`` has it."""
    if kind is TaskKind.language_modeling:
        return is_best[numbers[0]], 0
    losses = [mean[number] for number in numbers]
    chosen = losses.index(min(losses))
    return chosen == question.gold, chosen


def _answered(
    engine: Engine,
    answers: Answers,
    filling: int,
    shape: tuple[int, int],
    should_stop: Callable[[], bool],
    label: str,
) -> tuple[list[float], list[bool]]:
    """Of every answer its mean nats, NaN where nothing is scored, and whether every token is the best."""
    nats = np.zeros(answers.count)
    num_tokens, misses = np.zeros((2, answers.count), dtype=np.int64)
    for rows in batches(answers.rows, shape[0] * shape[1], filling):
        if should_stop():
            raise Stopped(f"asked to stop while asking {label}")
        nats_S, is_best_S = _run(engine, rows, shape)
        np.add.at(nats, rows.answer, nats_S.cpu().numpy())
        np.add.at(num_tokens, rows.answer, 1)
        np.add.at(misses, rows.answer, (~is_best_S).cpu().numpy())
    if not np.isfinite(nats).all():
        raise Diverged(f"the model's losses on {label} are not finite")
    with np.errstate(invalid="ignore"):
        return (nats / num_tokens).tolist(), (misses == 0).tolist()


def _run(engine: Engine, rows: Rows, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    arrays = (rows.tokens, rows.before, rows.positions, rows.branches, rows.index, rows.target)
    tokens, before, positions, branches, index, target = (
        torch.from_numpy(array).to(engine.device) for array in arrays
    )
    return engine.continuations(BranchedRows(tokens, before, positions, branches), shape, index, target)


def _shape(plan: RunPlan) -> tuple[int, int]:
    return plan.device_batch_size, plan.sequence_len


@torch.no_grad()
def _digest(engine: Engine) -> str:
    """SHA-256 of the weights, by name."""
    state = hashlib.sha256()
    for name, tensor in engine.model.state_dict().items():
        state.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        state.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return state.hexdigest()
