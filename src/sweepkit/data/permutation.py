"""Permutations that need no memory: where item i goes, for any i, from (size, key) alone.

The swap-or-not shuffle (Hoang, Morris and Rogaway, "An Enciphering Scheme Based on a Card Shuffle", 2012): in
every round each number x has the partner K − x modulo the size, and a coin that both share says whether they
swap. It works for every size and comes close to uniform over all permutations, of few items as of many.
Unlike numpy's generators it is defined here to the last bit, so data order cannot change with a library.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Unsigned = npt.NDArray[np.uint64]
# Two items stay correlated with a chance of about 2^(−rounds / 2).
_ROUNDS = 64
_MASK64 = (1 << 64) - 1


def permute(positions: Integers, sizes: Integers | int, keys: Unsigned | int) -> Integers:
    """Where ``positions``, each in [0, size), go under the permutation of ``range(size)`` named by a key.

    Sizes and keys are one for all, or one for each.
    """
    keys_R1 = key_of(np.asarray(keys, np.uint64), np.arange(_ROUNDS)[:, None])
    offsets_R1 = (keys_R1 % np.asarray(sizes, np.uint64)).astype(np.int64)
    images = positions
    for offsets, coin_keys in zip(offsets_R1, key_of(keys_R1, 1), strict=True):
        partners = (offsets - images) % sizes
        shared = np.maximum(images, partners).astype(np.uint64)
        coins = _mix(shared ^ coin_keys) & np.uint64(1)
        images = np.where(coins == 1, partners, images)
    return images


def key_of(*parts: Integers | Unsigned | int) -> Unsigned:
    """Mix integers, or arrays of them, into 64-bit keys; order matters."""
    state = np.zeros(1, np.uint64)  # numpy warns where scalars wrap, and not where arrays do
    for part in parts:
        state = _mix(state + _unsigned(part) + np.uint64(0x9E3779B97F4A7C15))
    return state


def _unsigned(part: Integers | Unsigned | int) -> Unsigned:
    return np.asarray(part & _MASK64 if isinstance(part, int) else part).astype(np.uint64)


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's finalizer (Steele, Lea and Flood, 2014); wraps modulo 2^64 on arrays."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
