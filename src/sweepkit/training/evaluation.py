"""Bits per byte of every evaluation stream: Σ nats / (ln 2 × Σ bytes of the target tokens).

Special tokens and padding count neither nats nor bytes. All batches have one shape, the training
micro-batch's, so that nothing compiles again; ranks share them. Nats are summed in fp64 (fp32 a batch where
the device has no fp64).

Shapes: B rows, T time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch

from sweepkit.config.cross_checks import VALIDATION
from sweepkit.data.streams import EvalStream
from sweepkit.data.tokenizer import Tokenizer
from sweepkit.results.document_losses import Kept
from sweepkit.training.by_document import ByDocument
from sweepkit.training.engine import Engine
from sweepkit.training.failure import Stopped

#: The validation stream's under the name that verdicts use.
MAIN = "val_bpb"


def evaluate(
    engine: Engine,
    streams: Sequence[EvalStream],
    tokenizer: Tokenizer,
    rows: int,
    should_stop: Callable[[], bool],
    report: Callable[[float], None] = lambda frac: None,
    by_document: Kept | None = None,
) -> dict[str, float]:
    """``bpb_<stream>`` of every stream, and ``val_bpb``, which is the validation stream's.

    Args:
        rows: B.
        should_stop: polled once a batch, at the same batches on all ranks.
        report: told with it which part of all batches is done.
        by_document: is given each stream's losses by document, where they are to be kept.

    Raises:
        Stopped: ``should_stop`` said so.
    """
    total = sum(-(-stream.num_rows // rows) for stream in streams)
    done = itertools.count()

    def look() -> bool:
        report(engine.ranks.size * next(done) / total)
        return should_stop()

    bpb = {}
    for stream in streams:
        sums = None if by_document is None else ByDocument(stream, tokenizer, rows)
        bpb[f"bpb_{stream.name}"] = bits_per_byte(engine, stream, tokenizer, rows, look, sums)
        if by_document is not None and sums is not None:
            by_document[stream.name] = sums.finish(engine.ranks)
    return {MAIN: bpb[f"bpb_{VALIDATION}"], **bpb}


def bits_per_byte(
    engine: Engine,
    stream: EvalStream,
    tokenizer: Tokenizer,
    rows: int,
    should_stop: Callable[[], bool],
    sums: ByDocument | None = None,
) -> float:
    """Bits per byte of one stream; NaN if the model's output is. ``sums`` are added to, if there are any."""
    exact = torch.float32 if engine.device.type == "mps" else torch.float64
    nats = torch.zeros((), dtype=exact, device=engine.device)
    num_bytes = 0
    places = itertools.repeat(None) if sums is None else sums.places()
    for index, ((inputs_BT, targets_BT), place_BT) in enumerate(
        zip(stream.batches(rows), places, strict=False)
    ):
        turn = index % engine.ranks.size  # ranks take turns
        if turn == 0 and should_stop():
            raise Stopped("asked to stop while evaluating")
        if turn != engine.ranks.rank:
            continue
        bytes_BT = np.where(targets_BT >= 0, tokenizer.token_bytes[targets_BT], 0)
        num_bytes += int(bytes_BT.sum())
        scored_BT = np.where(bytes_BT > 0, targets_BT, -1).astype(np.int32)
        nats_BT = engine.nats(
            torch.from_numpy(inputs_BT).to(engine.device), torch.from_numpy(scored_BT).to(engine.device)
        )
        nats += nats_BT.sum(dtype=exact)
        if sums is not None and place_BT is not None:
            sums.add(place_BT, nats_BT.cpu().numpy(), bytes_BT)
    total = engine.ranks.sum(torch.tensor([nats.item(), num_bytes], dtype=torch.float64))
    return float(total[0]) / (math.log(2) * float(total[1]))
