"""A sweep file of runs that take a second: tiny, eager, on the embedded text."""

from __future__ import annotations

from pathlib import Path

_TEMPLATE = """\
question: Does the plain rate help?
base:{shape}
  - model.aspect_ratio=16
  - model.head_dim=16
  - tokenizer.vocab_size=512
  - horizon.sequence_len=64
  - horizon.device_batch_size=4
  - horizon.total_batch_size=256
  - horizon.num_steps={num_steps}
  - evaluation.max_bytes=2000
  - evaluation.every_steps={evaluate_every}
  - evaluation.sample_tokens=0
  - trainer.compile=false
  - trainer.checkpoint_every_steps=5
  - logging.diagnostics_every_steps=0
axes: {axes}
reference: {reference}
seeds: {seeds}
decision: {{metric: {metric}, alpha: 0.1, min_effect: 0.001, num_unselected: {num_unselected}}}
ladder: {ladder}
{more}
"""


def write_sweep(
    folder: Path,
    name: str = "small",
    *,
    num_steps: int = 10,
    evaluate_every: int = 0,
    seeds: int = 2,
    axes: str = "{lr: {tenth: [optimizer.unembedding.lr=0.0008], plain: [optimizer.unembedding.lr=0.008]}}",
    reference: str = "{lr: tenth}",
    ladder: str = "mini",
    num_unselected: int = 0,
    metric: str = "val_bpb",
    more: str = "",
) -> str:
    """``folder/sweeps/NAME.yaml``: the reference's rate is a tenth, so that the variant is better."""
    path = folder / "sweeps" / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        _TEMPLATE.format(
            shape="\n  - experiment=mini\n  - model=d2" if ladder == "none" else "",
            num_steps=num_steps,
            evaluate_every=evaluate_every,
            axes=axes,
            reference=reference,
            seeds=list(range(1, seeds + 1)),
            ladder=ladder,
            num_unselected=num_unselected,
            metric=metric,
            more=more,
        )
    )
    return name
