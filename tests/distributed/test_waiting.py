"""How long a rank waits for others: two processes, of which one comes late to every exchange."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import waiting_rank

from sweepkit.distributed.waiting import Waiting

SCRIPT = Path(__file__).with_name("waiting_rank.py")


@pytest.mark.slow
def test_who_is_early_waits_in_every_exchange_and_who_is_late_does_not() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        subprocess.Popen([sys.executable, str(SCRIPT), str(port), str(rank)], stdout=subprocess.PIPE)
        for rank in range(2)
    ]
    waited = [json.loads(process.communicate(timeout=600)[0]) for process in processes]
    assert len(waited[0]) == 9
    for name in waited[0]:
        late = int(name[-1])
        early_s, late_s = waited[1 - late][name], waited[late][name]
        assert early_s > waiting_rank.LATE_S / 2 and early_s > late_s, (name, waited)


def test_it_adds_up_and_starts_again() -> None:
    waiting = Waiting()
    for _ in range(2):
        with waiting.on(torch.device("cpu")):
            time.sleep(0.01)
    assert 0.02 <= waiting.seconds() < 10
    waiting.clear()
    assert waiting.seconds() == 0
