"""``python -m sweepkit.distributed.exchange_check NUM_RANKS``: do ranks exchange what they should here?

As many processes as ranks, each on its GPU where there are GPUs, do what the ranks of a run do to each other,
with numbers whose sums are known. Prints the largest error.
"""

from __future__ import annotations

import subprocess
import sys

import torch

from sweepkit.distributed import team
from sweepkit.distributed.ranks import Ranks
from sweepkit.plan import world

_MODULE = "sweepkit.distributed.exchange_check"
_NUM = 1 << 16  # elements
_LIMIT_S = 60.0


def measure(num_ranks: int) -> float:
    """Largest error of any rank; they are started and ended here.

    Raises:
        RuntimeError: a rank failed; the message is the last that was said.
        TimeoutExpired: they still waited for each other after a minute.
    """
    command = [sys.executable, "-m", _MODULE, str(num_ranks)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT_S, check=False)
    if done.returncode != 0:
        raise RuntimeError((done.stderr.strip().splitlines() or ["a rank failed without a word"])[-1])
    return float(done.stdout)


def largest_error(ranks: Ranks) -> float:
    """Of this rank; all must ask."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    owner, total = ranks.size - 1, ranks.size * (ranks.size + 1) / 2
    summed, copied, largest = (torch.full((_NUM,), ranks.rank + 1.0, device=device) for _ in range(3))
    ranks.start_sum_at(summed, owner)
    ranks.start_copy_from(copied, owner)
    ranks.finish()
    found = [
        (copied, ranks.size),
        (ranks.max(largest), ranks.size),
        (ranks.sum(torch.tensor(ranks.rank + 1.0)), total),
        (torch.tensor(float(ranks.agreed(ranks.leads))), 1),
    ]
    if ranks.rank == owner:
        found.append((summed, total))
    collected = ranks.collect({f"rank {ranks.rank}": torch.full((_NUM,), ranks.rank + 1.0, device=device)})
    found += [(tensor, int(name.split()[1]) + 1) for name, tensor in collected.items()]
    assert len(collected) == (ranks.size if ranks.leads else 0), "the leader must have what all ranks have"
    return max(float((tensor - expected).abs().max()) for tensor, expected in found)


def main() -> None:
    """One rank: the leader, which starts the others, or one of these."""
    num_ranks = int(sys.argv[1])
    if world.is_started():
        mine = team.join()
    else:
        mine = team.start(num_ranks, command=(sys.executable, "-m", _MODULE, str(num_ranks)))
    errors = mine.ranks.words(largest_error(mine.ranks))
    if mine.ranks.leads:
        print(max(errors))
    else:
        mine.next_order()  # to go


if __name__ == "__main__":
    main()
