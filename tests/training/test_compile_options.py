"""What is asked of torch.compile: things that every torch from 2.11 on takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch._dynamo import config
from training_runs import TINY, tiny

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


@pytest.mark.slow
def test_an_eager_run_does_not_import_the_compiler(shared_cache: Path, tmp_path: Path) -> None:
    """Which takes longer than torch itself; also where it looks at activations and writes a sample."""
    words = [
        "train",
        *TINY,
        "evaluation.sample_tokens=2",
        "logging.diagnostics_every_steps=1",
        "horizon.num_steps=2",
    ]
    code = (
        "import sys; from sweepkit.cli.main import main; assert main(sys.argv[1:]) == 0;"
        "assert 'torch' in sys.modules and 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, *words], check=True, cwd=tmp_path)
