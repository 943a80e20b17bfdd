"""The sweep file that the integration tests promote."""

from __future__ import annotations

from pathlib import Path

#: A promotion of seconds: two rungs, two variants, two seeds, eager, on the embedded corpus.
TINY_SWEEP = """\
question: Does a tenth of the matrix learning rate hurt?
base:
  - tokenizer.vocab_size=512
  - horizon.sequence_len=64
  - horizon.device_batch_size=4
  - horizon.total_batch_size=256
  - horizon.num_steps={num_steps}
  - evaluation.max_bytes=4000
  - evaluation.every_steps=20
  - evaluation.sample_tokens=0
  - trainer.compile=false
  - trainer.checkpoint_every_steps=5
  - logging.diagnostics_every_steps=0
axes:
  matrix_lr: {{tenth: [optimizer.matrix.lr=0.002], double: [optimizer.matrix.lr=0.04]}}
seeds: [1, 2]
decision: {{metric: val_bpb, alpha: 0.1, min_effect: 0.001, num_unselected: 0}}
ladder: mini
"""


def write_tiny_sweep(folder: Path, name: str = "tiny", num_steps: int = 40) -> Path:
    """A sweep file ``folder/sweeps/NAME.yaml``."""
    path = folder / "sweeps" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(TINY_SWEEP.format(num_steps=num_steps))
    return path
