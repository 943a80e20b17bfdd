"""From where on a number of a run's inside looks wrong: one table, each limit with where it comes from.

A limit lies well outside of what healthy runs show, for a false alarm costs more trust than a missed one. The
-3 of the methodology is where update:data of a long run settles; while weights still grow from small or zero
initial values it is larger by decades in a healthy run, so what is held against a limit is a decade and more
above what tuned rates give.
"""

from __future__ import annotations

from dataclasses import dataclass

_MINI = "measured: mini at d2, tuned rates; a rate x 30"
_TINY = "measured: d2 and d4 of width 32 and 64, 24 steps, default rates; a rate x 30"
_OWN = "by definition"


@dataclass(frozen=True)
class Limit:
    """What a number is held against.

    Attributes:
        value: the limit itself.
        meaning: what lies beyond it.
        source: where it comes from.
    """

    value: float
    meaning: str
    source: str


LIMITS: dict[str, Limit] = {
    "update_data_log10": Limit(-3.0, "where update:data of a long run settles", "docs/methodology.md, 6"),
    "update_high_matrix": Limit(
        -0.75, "update:data of matrices that were drawn and not set to 0, log10", f"{_MINI}: -1.4; -0.4"
    ),
    "update_high_matrix_adamw": Limit(
        -1.2, "the same under AdamW, whose steps are the rate itself, log10", f"{_TINY}: -2.3; -0.9"
    ),
    "update_high_matrix_lion": Limit(-1.5, "the same under Lion, log10", f"{_TINY}: -2.7; -1.2"),
    "update_high_embedding": Limit(
        -0.15, "update:data of the embedding, log10", f"{_MINI}: -1.0; -0.3 at step 16"
    ),
    "update_high_resid": Limit(-1.6, "update:data of the λ of the stream, log10", f"{_MINI}: -2.6; -1.4"),
    "update_low": Limit(-5.0, "median update:data of a table or matrix, log10", f"{_MINI}: -1.3 to -1.6"),
    "growth_matrix": Limit(8.0, "matrices over what they were drawn as", f"{_MINI}: 1.5; 42"),
    "growth_embedding": Limit(30.0, "the embedding over what it was drawn as", f"{_MINI}: 3.2; 48"),
    "size_table": Limit(3.5, "a value or bigram table over the embedding", f"{_MINI}: 0.6 and 1; 4.8 and 19"),
    "size_x0": Limit(5.0, "λ of the embedding in the stream (x0), whose own are near 1", f"{_MINI}: 0.8; 58"),
    "mlp_dead": Limit(0.25, "hidden units that are 0 for every token of the sample", f"{_MINI}: 0"),
    "softcap_pinned": Limit(0.05, "logits at the softcap (|tanh| > 0.97)", f"{_MINI}: 0"),
    "softcap_top_pinned": Limit(0.5, "tokens whose largest logit is at the softcap", f"{_MINI}: 0"),
    "gate_pinned": Limit(0.9, "gates of a layer within 0.03 of 0, or of 1", f"{_MINI}: 0"),
    "residual_growth": Limit(
        100.0, "residual stream over what it was at the first look", f"{_MINI}: 2.2; 15000"
    ),
    "attention_entropy": Limit(
        0.02, "entropy of attention over its largest value", "chosen; what collapses: arXiv 2303.06296"
    ),
    "experts_idle": Limit(
        0.25, "experts that no token of a step chose", "chosen; loads collapse: arXiv 2101.03961"
    ),
    "gradient_zeros": Limit(0.5, "gradients of matrices that are exactly 0 after step 1", _OWN),
    "initial_values": Limit(
        6.0, "initial size off what the plan describes, in standard errors of the draw", "plan/parts.py"
    ),
    "loss_risen": Limit(0.25, "mean loss of the end over the lowest mean, nats", f"{_MINI}: 0.01"),
    "loss_fallen": Limit(0.03, "share by which the loss has to fall from its first value", f"{_MINI}: 0.38"),
    "skipped": Limit(0.05, "share of steps that fp16 skipped", "one in 2000 is usual (loss_scaler.py)"),
}
