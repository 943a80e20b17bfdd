"""Permutations that need no memory: where item i goes, for any i, from (size, key) alone.

A Feistel network permutes the numbers below the next power of four; numbers that land outside the range
are sent through again until they land inside (cycle walking), which keeps it a permutation. Unlike
numpy's generators it is defined here to the last bit, so data order cannot change with a library.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_ROUNDS = 6
_MASK64 = (1 << 64) - 1


def permute(positions: npt.NDArray[np.int64], size: int, key: int) -> npt.NDArray[np.int64]:
    """Where ``positions``, each in [0, size), go under the permutation of ``range(size)`` named ``key``."""
    half_bits = max(1, ((size - 1).bit_length() + 1) // 2)
    images = _feistel(positions.astype(np.uint64), half_bits, key)
    while (outside := images >= size).any():
        images[outside] = _feistel(images[outside], half_bits, key)
    return images.astype(np.int64)


def key_of(*parts: int) -> int:
    """Mix integers into a 64-bit key; order matters."""
    state = 0
    for part in parts:
        state = _mix_int((state + (part & _MASK64) + 0x9E3779B97F4A7C15) & _MASK64)
    return state


def _feistel(values: npt.NDArray[np.uint64], half_bits: int, key: int) -> npt.NDArray[np.uint64]:
    shift = np.uint64(half_bits)
    mask = np.uint64((1 << half_bits) - 1)
    left, right = values >> shift, values & mask
    for number in range(_ROUNDS):
        round_key = np.uint64(key_of(key, number))
        left, right = right, left ^ (_mix(right ^ round_key) & mask)
    return (left << shift) | right


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64's finalizer (Steele, Lea and Flood, 2014); wraps modulo 2^64 on arrays."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _mix_int(value: int) -> int:
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK64
    return value ^ (value >> 31)
