"""What the benchmark holds a step against: torch's own kernels, in the shapes of the reference workload.

A shared machine gives a process more one minute and less the next, and matrix products, attention and
streaming through memory each feel that differently. A step over products alone moved by 8% between spells of
25 rounds; over this mix by 4%, with a standard deviation of 1.2% (two processes of 200 rounds). No code of
sweepkit is in it, so a change of sweepkit cannot move it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

LAYERS, ROWS, HEADS, TOKENS_A_ROW, HEAD_DIM = 4, 8, 4, 512, 64
TOKENS, WIDTH, HIDDEN = ROWS * TOKENS_A_ROW, HEADS * HEAD_DIM, 4 * HEADS * HEAD_DIM
PRODUCT_FLOPS = 2 * TOKENS * WIDTH * HIDDEN
# A layer has 4 matrices of width² and 2 of 4 width²: 3 products of WIDTH × HIDDEN, each with two gradients.
PRODUCTS_A_STEP = LAYERS * 3 * 3
VOCABULARY_PRODUCTS_A_STEP = 3
SOFTMAX_PASSES_A_STEP = 2  # forward and backward over all logits
_NUM_PRODUCTS = 9


def seconds(work: Callable[[], object]) -> float:
    """What one call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


class Yardstick:
    """One round of the kernels that a step cannot do without; as many threads as torch has."""

    def __init__(self, vocab_size: int, dtype: torch.dtype = torch.bfloat16) -> None:
        self.x_ND = torch.randn(TOKENS, WIDTH, dtype=dtype)
        self.w_DH = torch.randn(WIDTH, HIDDEN, dtype=dtype)
        self.w_DV = torch.randn(WIDTH, vocab_size, dtype=dtype)
        self.logits_NV = torch.randn(TOKENS, vocab_size)
        self.out_NV = torch.empty_like(self.logits_NV)
        self.qkv_BHTD = torch.randn(ROWS, HEADS, TOKENS_A_ROW, HEAD_DIM, dtype=dtype).requires_grad_()

    def measure(self) -> tuple[float, float]:
        """The rate of (4096×256)·(256×1024) products in FLOP/s, and the seconds of a step's kernels."""
        product_s = statistics.median(
            seconds(lambda: torch.mm(self.x_ND, self.w_DH)) for _ in range(_NUM_PRODUCTS)
        )
        step_s = (
            PRODUCTS_A_STEP * product_s
            + LAYERS * seconds(self._attention)
            + VOCABULARY_PRODUCTS_A_STEP * seconds(lambda: torch.mm(self.x_ND, self.w_DV))
            + SOFTMAX_PASSES_A_STEP * seconds(lambda: torch.exp(self.logits_NV, out=self.out_NV))
        )
        return PRODUCT_FLOPS / product_s, step_s

    def _attention(self) -> None:
        self.qkv_BHTD.grad = None
        q = self.qkv_BHTD
        F.scaled_dot_product_attention(q, q, q, is_causal=True).sum().backward()
