"""Documents by length, with "the longest that fits" in O(log L) for lengths up to L.

A bitmap marks the lengths that have a document waiting; above it stands a bitmap of its non-empty
64-bit words, above that one of those, until a single word is left. A search for the largest marked
length at most x looks at one word a level on the way up and one on the way down: two levels for rows
of 4,096 tokens, three up to 262,144. Documents of one length leave in the order they came.
"""

from __future__ import annotations

from collections import defaultdict, deque

_BITS = 6
_WORD = 63


class LengthIndex:
    """A multiset of (length, document) for lengths 0 to ``max_length``."""

    def __init__(self, max_length: int) -> None:
        self._queues: defaultdict[int, deque[int]] = defaultdict(deque)
        self._levels: list[list[int]] = []
        size = max_length + 1
        while True:
            size = (size + _WORD) >> _BITS
            self._levels.append([0] * size)
            if size == 1:
                break

    def add(self, length: int, document: int) -> None:
        queue = self._queues[length]
        if not queue:
            position = length
            for words in self._levels:
                words[position >> _BITS] |= 1 << (position & _WORD)
                position >>= _BITS
        queue.append(document)

    def pop_longest(self, limit: int) -> int:
        """The document with the largest length ≤ ``limit`` (first come first), or -1."""
        length = self._largest_at_most(limit)
        return -1 if length < 0 else self._pop(length)

    def pop_shortest(self) -> int:
        """The document with the smallest length (first come first), or -1."""
        if self._levels[-1][0] == 0:
            return -1
        position = 0
        for words in reversed(self._levels):
            word = words[position]
            position = (position << _BITS) | ((word & -word).bit_length() - 1)
        return self._pop(position)

    def _largest_at_most(self, limit: int) -> int:
        position = limit
        for level, words in enumerate(self._levels):
            if position < 0:
                return -1
            word = words[position >> _BITS] & ((2 << (position & _WORD)) - 1)
            if word:
                position = (position & ~_WORD) | (word.bit_length() - 1)
                for lower in reversed(self._levels[:level]):
                    position = (position << _BITS) | (lower[position].bit_length() - 1)
                return position
            position = (position >> _BITS) - 1
        return -1

    def _pop(self, length: int) -> int:
        queue = self._queues[length]
        document = queue.popleft()
        if not queue:
            position = length
            for words in self._levels:
                words[position >> _BITS] &= ~(1 << (position & _WORD))
                if words[position >> _BITS]:
                    break
                position >>= _BITS
        return document
