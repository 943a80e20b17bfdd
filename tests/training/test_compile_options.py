"""What is asked of torch.compile: things that every torch from 2.11 on takes."""

from __future__ import annotations

import pytest
import torch
from torch._dynamo import config
from training_runs import tiny

from sweepkit.training import step_speed
from sweepkit.training.engine import COMPILE_OPTIONS, RECOMPILE_LIMIT, Engine

#: The parameters of torch 2.11's torch.compile.
IN_2_11 = {"fullgraph", "dynamic", "backend", "mode", "options", "disable"}


def test_only_what_torch_2_11_knows_and_a_limit_for_many_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert COMPILE_OPTIONS.keys() <= IN_2_11
    monkeypatch.setattr(config, "recompile_limit", 8)
    plan, key, _ = step_speed.prepare(tiny("trainer.compile=false").config, torch.device("cpu"))
    Engine(plan, key)
    assert config.recompile_limit == 8, "an eager run has nothing to do with the compiler"
    plan, key, _ = step_speed.prepare(tiny("trainer.compile=true").config, torch.device("cpu"))
    Engine(plan, key)
    assert config.recompile_limit == RECOMPILE_LIMIT
