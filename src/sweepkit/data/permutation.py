"""Permutations that need no memory: where item i goes, for any i, from (size, key) alone.

The swap-or-not shuffle (Hoang, Morris and Rogaway, "An Enciphering Scheme Based on a Card Shuffle", 2012): in
every round each number x has the partner K − x modulo the size, and a coin that both share says whether they
swap. It works for every size and comes close to uniform over all permutations, of few items as of many.
Unlike numpy's generators it is defined here to the last bit, so data order cannot change with a library.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Two items stay correlated with a chance of about 2^(−rounds / 2).
_ROUNDS = 64
_MASK64 = (1 << 64) - 1


def permute(positions: npt.NDArray[np.int64], size: int, key: int) -> npt.NDArray[np.int64]:
    """Where ``positions``, each in [0, size), go under the permutation of ``range(size)`` named ``key``."""
    images = positions
    for number in range(_ROUNDS):
        round_key = key_of(key, number)
        partners = (round_key % size - images) % size
        shared = np.maximum(images, partners).astype(np.uint64)
        coins = _mix(shared ^ np.uint64(key_of(round_key, 1))) & np.uint64(1)
        images = np.where(coins == 1, partners, images)
    return images


def key_of(*parts: int) -> int:
    """Mix integers into a 64-bit key; order matters."""
    state = 0
    for part in parts:
        state = _mix_int((state + (part & _MASK64) + 0x9E3779B97F4A7C15) & _MASK64)
    return state


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's finalizer (Steele, Lea and Flood, 2014); wraps modulo 2^64 on arrays."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _mix_int(value: int) -> int:
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK64
    return value ^ (value >> 31)
