"""Checks of what flows through a model: activations, gradients, the loss, and how a run ended."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from sweepkit.analysis.diagnosis_case import Case, Finding
from sweepkit.analysis.diagnosis_limits import LIMITS
from sweepkit.results.diagnosed import Diagnosed
from sweepkit.results.record import RunState

#: So many logged losses before a trend is one, and the share of them that an end is.
MANY_LOSSES, _END = 20, 0.1
#: Share of a layer's parts → what they are, and what usually causes it.
_OF_LAYERS = {
    "mlp_dead": (
        "MLP units of layer {layer} are dead{sample}",
        "a step that was too large threw them below 0: a lower learning rate, a longer warm-up",
    ),
    "experts_idle": (
        "experts of layer {layer} are chosen by no token",
        "the router has collapsed: see model.experts.balance",
    ),
}


def ended(case: Case) -> Iterator[Finding]:
    """A loss that is no number any more, or has exploded."""
    record = case.record
    if record is None or record.state is not RunState.diverged:
        return
    before = [row for row in case.curve if row.get("loss") is not None and row["step"] < record.step]
    last = f"; one step before it was {before[-1]['loss']:.3f}" if before else ""
    said = f"it diverged: {record.failure_message}{last}"
    suspects = case.far_rates() or ["no rate is far from its default"]
    cause = f"too high a learning rate ({'; '.join(suspects)}), or numbers beyond the dtype's range"
    fastest = _fastest(case)
    cause += f"; at the last look {fastest} moved fastest" if fastest else ""
    yield Finding("diverged", "", record.step, None, None, said, cause)


def _fastest(case: Case) -> str:
    """The group with the largest update:data of the last row; of step 1 none, where many begin near 0."""
    ratios = {
        role: ratio
        for role in case.plan.learning_rates
        if case.later and (ratio := case.ratio(case.rows[-1], role, "update")) is not None
    }
    role = max(ratios, key=lambda role: ratios[role], default=None)
    if role is None:
        return ""
    return f"{role} (update:data 10^{ratios[role]:.1f} at step {case.rows[-1].step}, {case.rate(role)})"


def activations(case: Case) -> Iterator[Finding]:
    """What the last look found in layers, and at the softcap."""
    if not case.rows:
        return
    row, tokens = case.rows[-1], case.rows[-1].whole.get("sample_tokens")
    sample = f" over {tokens:,.0f} tokens" if tokens else ""
    for name, (words, cause) in _OF_LAYERS.items():
        limit = LIMITS[name].value
        for layer, share in _layers(row, name):
            if share > limit:
                said = f"{share:.0%} of the {words.format(layer=layer, sample=sample)}"
                yield Finding(name, f"layer {layer}", row.step, share, limit, said, cause)
    limit = LIMITS["gate_pinned"].value
    for side, end in (("low", "0"), ("high", "1")):
        gates = [(f"layer {layer}", share) for layer, share in _layers(row, f"value_gate_{side}")]
        smear = row.whole.get(f"smear_gate_{side}")
        for place, share in [*gates, *([("smear", smear)] if smear is not None else [])]:
            if share > limit:
                said = f"{share:.0%} of the gates of {place} are within 0.03 of {end}"
                cause = "they have saturated and get no gradient: the learning rate of what they multiply"
                yield Finding("gate_pinned", place, row.step, share, limit, said, cause)
    limit = LIMITS["attention_entropy"].value
    for layer, share in _layers(row, "attention_entropy"):
        if share < limit:
            said = f"attention of layer {layer} looks at one position: its entropy is {share:.3f} of the most"
            cause = "attention has collapsed: queries and keys too large (model.qk_scale, the matrix rate)"
            yield Finding("attention_entropy", f"layer {layer}", row.step, share, limit, said, cause)
    yield from _stream(case)
    for name, words in (
        ("softcap_pinned", "of the logits are pinned at the softcap"),
        ("softcap_top_pinned", "of the tokens have their largest logit pinned at the softcap"),
    ):
        found, limit = row.whole.get(name), LIMITS[name].value
        if found is not None and found > limit:
            said = f"{found:.0%} {words} (±{case.plan.config.model.logit_softcap:g})"
            cause = f"logits are too large: the head's rate ({case.rate('unembedding')}), or a low cap"
            yield Finding(name, "head", row.step, found, limit, said, cause)


def _stream(case: Case) -> Iterator[Finding]:
    first, last = case.rows[0], case.rows[-1]
    limit, began = LIMITS["residual_growth"].value, dict(_layers(first, "residual_rms"))
    grown = {layer: size / began[layer] for layer, size in _layers(last, "residual_rms") if began.get(layer)}
    if grown and (most := max(grown.values())) > limit:
        layer = max(grown, key=lambda layer: grown[layer])
        said = f"the residual stream behind layer {layer} has grown {most:,.0f}-fold since step {first.step}"
        cause = f"output matrices that are too large: the matrix rate ({case.rate('matrix')}), or lost zeros"
        yield Finding("residual_growth", f"layer {layer}", last.step, most, limit, said, cause)
    values = last.layers.get("residual_rms", [])
    if (lost := next((layer for layer, size in enumerate(values) if size is None), None)) is not None:
        said = f"the residual stream is not finite from layer {lost} on"
        cause = "weights that are not finite, or numbers beyond the range of the dtype"
        yield Finding("not_finite", f"layer {lost}", last.step, None, None, said, cause)


def _layers(row: Diagnosed, name: str) -> Iterator[tuple[int, float]]:
    return ((layer, v) for layer, v in enumerate(row.layers.get(name, [])) if v is not None)


def gradients(case: Case) -> Iterator[Finding]:
    """Gradients that are no numbers, or have all gone."""
    for row in case.rows:
        for role, histogram in row.groups.items():
            if histogram.not_finite:
                said = f"gradients of {role} are not finite at step {row.step}"
                cause = "a loss that is not finite, or an overflow on the way back"
                yield Finding("gradient_not_finite", f"group {role}", row.step, None, None, said, cause)
                return
    limit = LIMITS["gradient_zeros"].value
    if case.later and (matrix := case.later[-1].groups.get("matrix")):
        share = matrix.zeros / (sum(matrix.counts) + matrix.zeros or 1)
        if share > limit:
            said, step = f"{share:.0%} of the gradients of matrix are exactly 0", case.later[-1].step
            cause = "they underflow (fp16: the loss scale), or most units are dead"
            yield Finding("gradient_zeros", "group matrix", step, share, limit, said, cause)


def losses(case: Case) -> Iterator[Finding]:
    """A loss that does not fall, or rises again; skipped steps."""
    found = [(row["step"], row["loss"]) for row in case.curve if row.get("loss") is not None]
    if len(found) >= MANY_LOSSES and (case.record is None or case.record.state is not RunState.diverged):
        width = max(2, round(_END * len(found)))
        values = [value for _, value in found]
        means = [statistics.fmean(values[i : i + width]) for i in range(len(values) - width + 1)]
        risen, fallen = means[-1] - min(means), 1 - means[-1] / found[0][1]
        if risen > (limit := LIMITS["loss_risen"].value):
            step = found[means.index(min(means))][0]
            said = f"the loss ends {risen:.2f} nats above its lowest mean, of about step {step}"
            cause = "a learning rate that is too high, or text at the end that is unlike the rest"
            yield Finding("loss_risen", "", step, risen, limit, said, cause)
        elif fallen < (limit := LIMITS["loss_fallen"].value):
            said = f"the loss has fallen by {max(fallen, 0):.1%} only, to {means[-1]:.3f} nats"
            cause = "rates far too low or too high, frozen groups, or targets that do not fit the inputs"
            yield Finding("loss_flat", "", found[-1][0], fallen, limit, said, cause)
    skipped = case.record.results.get("num_skipped_steps") if case.record else None
    if skipped and case.record and skipped / max(case.record.step, 1) > (limit := LIMITS["skipped"].value):
        said = f"{skipped} of {case.record.step} steps were skipped, as gradients overflowed fp16"
        cause = "gradients grow without end (see grad_norm), or fp16's range is too small for this model"
        yield Finding("skipped", "", None, skipped / case.record.step, limit, said, cause)
