"""``python waiting_rank.py PORT RANK``: one of two ranks, of which the other is late in every exchange.

The late one comes when the first has been at it for ``LATE_S``, as the first's clock has it. Prints what each
exchange had this rank wait, as JSON.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from datetime import timedelta

import torch
from torch.distributed import TCPStore

from sweepkit.distributed.ranks import Ranks

LATE_S = 0.3


def exchanges(ranks: Ranks, late: int) -> dict[str, Callable[[], object]]:
    """All that ranks do together in a step, or between two; ``late`` is who is waited for."""
    tensor, other = torch.ones(4), 1 - late
    return {
        "gradients": lambda: (ranks.start_sum_at(tensor, other), ranks.finish()),
        "weights": lambda: (ranks.start_copy_from(tensor, late), ranks.finish()),
        "mean loss": lambda: ranks.sum(tensor),
        "overflow": lambda: ranks.max(tensor),
        **({"stopping": lambda: ranks.agreed(True)} if late == 0 else {}),
    }


def main() -> None:
    port, rank = int(sys.argv[1]), int(sys.argv[2])
    store = TCPStore("127.0.0.1", port, 2, is_master=rank == 0, timeout=timedelta(seconds=600))
    ranks = Ranks(rank, 2, store)
    ranks.form_group(rank)
    waited = {}
    clock = store.clone()  # the main thread's connection may be waiting
    for late in (1, 0):
        for name, exchange in exchanges(ranks, late).items():
            key = f"{name} of {late}"
            ranks.words(None)
            if rank == late:
                store.wait([key])
            else:
                threading.Timer(LATE_S, clock.set, (key, "")).start()
            ranks.waiting.clear()
            exchange()
            waited[key] = ranks.waiting.seconds()
    print(json.dumps(waited))
    ranks.words(None)  # the store goes with rank 0


if __name__ == "__main__":
    main()
