"""The batch of a step, as a pure function of (data recipe, seed, step, total_batch_size, T).

There is nothing to save and nothing to restore: step s is rows s·B to s·B + B of an endless sequence.
Ranks and micro-steps slice the batch, so resume, other world sizes and all variants of one seed see the same
tokens.

The sequence is a stratified sample. The packed rows, which lie in the order of their documents, are cut into
``NUM_STRATA`` stretches of equal length; every block of as many rows takes one from each, in an order of its
own, and a stretch is walked through once a lap, in a new order every lap. A run shorter than an epoch then
reads the sources of its text in the same shares whatever its seed.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sweepkit.data.block_check import CheckedArray
from sweepkit.data.packing import PackingIndex
from sweepkit.data.permutation import key_of, permute
from sweepkit.errors import ImpossibleError, invalid

#: Into how many stretches the rows are cut; fewer where there are fewer rows.
NUM_STRATA = 64
_BLOCKS = -1  # keys the order within a block, as 0 to 63 key the order within a stratum


class TrainLoader:
    """Batches of one run.

    Attributes:
        num_rows: rows in an epoch.
        rows_per_batch: total_batch_size // sequence_len.
    """

    def __init__(
        self,
        tokens: npt.NDArray[Any] | CheckedArray,
        index: PackingIndex,
        seed: int,
        total_batch_size: int,
        sequence_len: int,
        dataset: str = "",
    ) -> None:
        """Make the loader.

        Args:
            tokens: [N], the whole text's.
            index: which of them are in a row, packed for ``sequence_len``.
            total_batch_size: tokens, a multiple of ``sequence_len``.
            dataset: its name, for errors.

        Raises:
            ConfigError: the batch is not a whole number of rows.
            ImpossibleError: the dataset does not fill one batch.
        """
        if total_batch_size <= 0 or total_batch_size % sequence_len:
            nearest = max(1, round(total_batch_size / sequence_len)) * sequence_len
            raise invalid(
                "horizon.total_batch_size", total_batch_size,
                f"be a multiple of horizon.sequence_len ({sequence_len})", f"nearest: {nearest}",
            )  # fmt: skip
        self._tokens, self._index, self._seed = tokens, index, seed
        self._row_len = sequence_len + 1
        self.rows_per_batch = total_batch_size // sequence_len
        self.num_rows = index.num_rows
        if self.num_rows < self.rows_per_batch:
            raise ImpossibleError(
                f"dataset {dataset!r} packs into {self.num_rows} rows of {sequence_len} "
                f"tokens, but must fill one batch of {self.rows_per_batch} rows (horizon.total_batch_size "
                f"{total_batch_size}); use more text, a smaller batch or a smaller horizon.sequence_len"
            )

    def rows(self, step: int) -> npt.NDArray[np.int64]:
        """int64 [B]: which rows of the packing index step ``step`` (from 0) takes."""
        positions = np.arange(step * self.rows_per_batch, (step + 1) * self.rows_per_batch, dtype=np.int64)
        num_strata = min(NUM_STRATA, self.num_rows)
        block, slot = np.divmod(positions, num_strata)
        stratum = permute(slot, num_strata, key_of(self._seed, _BLOCKS, block))
        first = stratum * self.num_rows // num_strata
        size = (stratum + 1) * self.num_rows // num_strata - first
        lap, offset = np.divmod(block, size)
        return first + permute(offset, size, key_of(self._seed, stratum, lap))

    def batch(
        self, step: int, rank: int = 0, num_ranks: int = 1, num_parts: int = 1
    ) -> npt.NDArray[np.int32]:
        """int32 [B / num_ranks, T+1], a rank's share of the tokens of step ``step``.

        Inputs are ``[:, :-1]``, targets ``[:, 1:]``. Ranks take consecutive rows, an equal number each: of
        every one of ``num_parts`` consecutive parts of the batch, where it is used in several.
        """
        share = self.rows_per_batch // num_ranks
        batch = np.empty((share, self._row_len), dtype=np.int32)
        rows = self.rows(step).reshape(num_parts, num_ranks, share // num_parts)[:, rank]
        for slot, row in enumerate(rows.ravel().tolist()):
            self._index.gather(self._tokens, row, batch[slot])
        return batch
