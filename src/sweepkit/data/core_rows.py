"""Questions as rows for a model: what the choices of an item have in common stands in a row once.

A row is a trunk and branches: positions of a branch go on from the trunk's, and its tokens see the trunk and
themselves, so that every choice is computed as if it stood alone behind the prompt. The last token of a
sequence predicts nothing that is scored and is left out; choices with the same tokens are one. Rows of like
length go together, as many as fill the tokens that compiled code takes at once.

Shapes: M rows, L tokens of the longest, S scored tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from sweepkit.data.core_prompts import Question, Scored, common

Ints = npt.NDArray[np.int64]

#: Branch of tokens that all see, and of those that only fill.
TRUNK, FILLING = 0, -1


@dataclass
class Row:
    """A trunk and some of its branches, in order.

    Attributes:
        parts: tokens of the trunk and of every branch.
        scored: place in the row, token to predict there, and the answer that it is a part of, each [S].
    """

    parts: list[Sequence[int]]
    scored: list[tuple[Ints, Ints, Ints]] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(map(len, self.parts))


@dataclass(frozen=True)
class Rows:
    """A batch.

    Attributes:
        tokens: [M, L].
        before: [M, L], place in its row of the token before; -1 for the first of a row.
        positions: [M, L].
        branches: [M, L], TRUNK, 1 and on, or FILLING.
        index: [S], place in the batch, row after row, whose next token is scored.
        target: [S], that token.
        answer: [S], the number of the answer that it is a part of.
    """

    tokens: Ints
    before: Ints
    positions: Ints
    branches: Ints
    index: Ints
    target: Ints
    answer: Ints


@dataclass
class Answers:
    """The answers to some questions, every different one once: numbers from 0.

    Attributes:
        of: question by question, the answer that each of its sequences is.
        rows: that give them.
    """

    of: list[list[int]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    count: int = 0

    def add(self, question: Question, sequence_len: int) -> None:
        """Put a question into rows of at most ``sequence_len`` tokens."""
        different = list(dict.fromkeys(question.sequences))
        numbers = {sequence: self.count + place for place, sequence in enumerate(different)}
        self.count += len(different)
        self.of.append([numbers[sequence] for sequence in question.sequences])
        trunk = common([sequence.tokens[:-1] for sequence in different])
        row = None
        for sequence in different:
            branch = sequence.tokens[trunk:-1]
            if row is None or len(row) + len(branch) > sequence_len:
                row = Row([sequence.tokens[:trunk]])
                self.rows.append(row)
            row.scored.append(_scored(sequence, numbers[sequence], trunk, len(row)))
            row.parts.append(branch)


def _scored(sequence: Scored, number: int, trunk: int, begin: int) -> tuple[Ints, Ints, Ints]:
    """What is scored of a sequence whose branch begins at ``begin`` of its row."""
    first = sequence.start if sequence.start > 0 else len(sequence.tokens)
    places = np.arange(first - 1, len(sequence.tokens) - 1)
    in_row = np.where(places < trunk, places, places - trunk + begin)
    return in_row, np.array(sequence.tokens[first:], dtype=np.int64), np.full(len(places), number)


def batches(rows: Iterable[Row], max_tokens: int, filling: int) -> Iterator[Rows]:
    """Rows in batches of at most ``max_tokens``, fillings included, the longest rows first.

    Args:
        filling: token behind the end of shorter rows.
    """
    left = sorted(rows, key=len, reverse=True)
    while left:
        length = max(1, len(left[0]))
        size = max(1, max_tokens // length)
        yield _batch(left[:size], length, filling)
        left = left[size:]


def _batch(rows: Sequence[Row], length: int, filling: int) -> Rows:
    shape = (len(rows), length)
    tokens = np.full(shape, filling, dtype=np.int64)
    positions = np.zeros(shape, dtype=np.int64)
    branches = np.full(shape, FILLING, dtype=np.int64)
    before = np.tile(np.arange(-1, length - 1), (len(rows), 1))
    index, target, answer = [], [], []
    for number, row in enumerate(rows):
        trunk, begin = len(row.parts[0]), 0
        for branch, part in enumerate(row.parts):
            end = begin + len(part)
            if begin == end:
                continue
            tokens[number, begin:end] = part
            branches[number, begin:end] = branch
            start = 0 if branch == TRUNK else trunk
            positions[number, begin:end] = np.arange(start, start + len(part))
            before[number, begin] = start - 1
            begin = end
        for in_row, tokens_, answer_ in row.scored:
            index.append(number * length + in_row)
            target.append(tokens_)
            answer.append(answer_)
    together = [
        np.concatenate(arrays) if arrays else np.zeros(0, np.int64) for arrays in (index, target, answer)
    ]
    return Rows(tokens, before, positions, branches, *together)
