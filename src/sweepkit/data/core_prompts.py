"""From an item to token sequences, exactly as the metric is defined (arXiv 2406.11794, docs/core.md).

In front of an item stand ``num_fewshot`` solved ones, drawn for it by ``random.Random(1234 + index)`` from
the others, with a blank line behind each. A sequence begins with BOS and is cropped on the left to the T
tokens that the model takes. What is scored is found on tokens: of several choices what follows their common
prefix, of several contexts their common suffix, of language modelling what follows the tokens of the prompt.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sweepkit.data.core_items import AskedTask, Item
from sweepkit.data.tokenizer import Tokenizer
from sweepkit.errors import ImpossibleError
from sweepkit.plan.core_bundle import Task, TaskKind

SHOT_SEED = 1234


@dataclass(frozen=True)
class Scored:
    """Tokens, BOS in front, and where what is scored begins; it goes to the end. 0: nothing is."""

    tokens: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class Question:
    """One item, ready to be asked.

    Attributes:
        index: of the item within its task.
        sequences: one a choice; one alone of language modelling.
        gold: the right one.
    """

    index: int
    sequences: Sequence[Scored]
    gold: int


def questions(
    asked: AskedTask, indices: Sequence[int], tokenizer: Tokenizer, sequence_len: int
) -> list[Question]:
    """Items of a task by their indices, for a model that takes ``sequence_len`` tokens.

    Raises:
        ImpossibleError: what is to be scored of one does not fit into the model, or has no tokens of its own.
    """
    texts = [prompts(asked, index) for index in indices]
    encoded = iter(tokenizer.encode_batch([*itertools.chain.from_iterable(texts)]))
    found = []
    for index, of_item in zip(indices, texts, strict=True):
        tokens = [[tokenizer.bos_id, *next(encoded)] for _ in of_item]
        sequences = [
            _cropped(asked.task, index, sequence, sequence_len)
            for sequence in _scored(asked.task, index, tokens)
        ]
        is_chosen = asked.task.kind is not TaskKind.language_modeling
        found.append(Question(index, sequences, asked.items[index]["gold"] if is_chosen else 0))
    return found


def prompts(asked: AskedTask, index: int) -> list[str]:
    """The texts of an item: one a choice or context; of language modelling without and with its end."""
    task, item = asked.task, asked.items[index]
    before = "".join(f"{_solved(task, asked.items[other])}\n\n" for other in shots(asked, index))
    middle = task.delimiter
    if task.kind is TaskKind.multiple_choice:
        return [f"{before}{item['query']}{middle}{choice}" for choice in item["choices"]]
    if task.kind is TaskKind.schema:
        return [f"{before}{context}{middle}{item['continuation']}" for context in item["context_options"]]
    prompt = f"{before}{item['context'].strip()}{middle}"
    # white space at its end would be a part of the first token that follows
    return [prompt.strip(), f"{prompt}{item['continuation']}"]


def shots(asked: AskedTask, index: int) -> list[int]:
    """The items that are shown, solved, before item ``index``."""
    others = range(len(asked.items) - 1)
    drawn = random.Random(SHOT_SEED + index).sample(others, asked.task.num_fewshot)
    return [other + (other >= index) for other in drawn]


def _solved(task: Task, item: Item) -> str:
    if task.kind is TaskKind.multiple_choice:
        return f"{item['query']}{task.delimiter}{item['choices'][item['gold']]}"
    if task.kind is TaskKind.schema:
        return f"{item['context_options'][item['gold']]}{task.delimiter}{item['continuation']}"
    return f"{item['context'].strip()}{task.delimiter}{item['continuation']}"


def _scored(task: Task, index: int, tokens: Sequence[list[int]]) -> Iterator[Scored]:
    """The sequences that are run, with where what is scored begins."""
    if task.kind is TaskKind.language_modeling:
        alone, whole = tokens
        if len(alone) >= len(whole) or whole[: len(alone)] != alone:
            raise _impossible(
                task,
                index,
                "its prompt alone does not have the first tokens of prompt and continuation",
                "leave the task out (evaluation.core.tasks), or use another tokenizer",
            )
        yield Scored(tuple(whole), len(alone))
    elif task.kind is TaskKind.multiple_choice:
        start = common(tokens)
        yield from (Scored(tuple(sequence), start) for sequence in tokens)
    else:
        suffix = common([sequence[::-1] for sequence in tokens])
        yield from (Scored(tuple(sequence), len(sequence) - suffix) for sequence in tokens)


def common(sequences: Sequence[Sequence[int]]) -> int:
    """The length of the prefix that all have in common."""
    for place, column in enumerate(zip(*sequences, strict=False)):
        if len(set(column)) > 1:
            return place
    return min(map(len, sequences))


def _cropped(task: Task, index: int, sequence: Scored, sequence_len: int) -> Scored:
    excess = len(sequence.tokens) - sequence_len
    if excess <= 0:
        return sequence
    if sequence.start <= excess:
        raise _impossible(
            task,
            index,
            f"{len(sequence.tokens) - sequence.start} of its tokens are to be scored, and the model takes "
            f"{sequence_len} (horizon.sequence_len) with one before them",
            "leave the task out (evaluation.core.tasks), or evaluate a model of longer rows",
        )
    return Scored(sequence.tokens[excess:], sequence.start - excess)


def _impossible(task: Task, index: int, why: str, remedy: str) -> ImpossibleError:
    return ImpossibleError(f"item {index} of {task.label} cannot be asked: {why}; {remedy}")
