"""Which row of a table stands for a token and the one before it: a hash, so that pairs may share a row.

The published one (docs/reference/experiments.csv): (36313·token) xor (27191·token before) modulo the rows but
the last, which stands for the first token of a row of tokens, which has none before it.
"""

from __future__ import annotations

import torch
from torch import Tensor

_TOKEN, _BEFORE = 36_313, 27_191


def rows(tokens_BT: Tensor, num_rows: int) -> Tensor:
    """[B, T] int64 rows of a table of ``num_rows``, of which there are at least 2."""
    tokens_BT = tokens_BT.long()
    pairs = torch.bitwise_xor(_TOKEN * tokens_BT[:, 1:], _BEFORE * tokens_BT[:, :-1])
    first = torch.full_like(tokens_BT[:, :1], num_rows - 1)
    return torch.cat((first, pairs % (num_rows - 1)), dim=1)
