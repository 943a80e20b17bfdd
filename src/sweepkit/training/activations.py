"""What activations look like: a forward pass of its own over a few rows, outside of compiled code.

The pass runs eagerly on the weights as they are and adds nothing to what training traces: hooks are put on
for it and taken off again. A sample of rows, positions and queries keeps it a small part of a step.

Shapes: B rows of the sample, T time, D width, H query heads, G key/value heads, K head size, Q queries looked
at, N tokens whose logits are looked at, V vocabulary.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from sweepkit.model.attend import Attend
from sweepkit.model.gpt import GPT
from sweepkit.model.mlp import MLP

#: |tanh| above which a unit is pinned at its limit (methodology §6), and gates are so near 0 or 1.
PINNED = 0.97
#: Tokens of the sample, and the share of a micro-batch; tokens whose logits are looked at; queries of a row.
_MAX_TOKENS, _MAX_SHARE, _MAX_LOGITS, _MAX_QUERIES = 2048, 1 / 8, 128, 16

Layers = dict[str, list[float | None]]
Whole = dict[str, float | None]


@torch.no_grad()
def measure(model: GPT, inputs_BT: Tensor) -> tuple[Layers, Whole]:
    """``layers`` and ``whole`` of a ``Diagnosed``.

    Args:
        model: whose pieces run as they were written (``Engine.eager``).
        inputs_BT: token ids; the first rows are the sample.
    """
    rows = min(_MAX_TOKENS // inputs_BT.size(1), int(_MAX_SHARE * inputs_BT.size(0)))
    sample_BT = inputs_BT[: max(1, rows)]
    seen = _Seen()
    loads = [(experts.load, experts.load.clone()) for experts in model.experts()]
    with _watching(model, seen):
        x_BTD, _ = model.stream(sample_BT)
        seen.keep(None, **_logits(model, x_BTD))
    for load, before in loads:
        load.copy_(before)
    numbers = torch.stack([value.float() for _, _, value in seen.values]).tolist()
    layers: Layers = {}
    whole: Whole = {"sample_tokens": float(sample_BT.numel())}
    for (name, layer, _), number in zip(seen.values, numbers, strict=True):
        value = number if math.isfinite(number) else None
        if layer is None:
            whole[name] = value
        else:
            layers.setdefault(name, [None] * len(model.blocks))[layer] = value
    return layers, whole


@dataclass
class _Seen:
    """What hooks have seen: name, layer, value (0-d); and the layer that runs now, None outside of all."""

    values: list[tuple[str, int | None, Tensor]] = field(default_factory=list)
    layer: int | None = None

    def keep(self, layer: int | None, **values: Tensor) -> None:
        self.values += [(name, layer, value) for name, value in values.items()]


@contextlib.contextmanager
def _watching(model: GPT, seen: _Seen) -> Iterator[None]:
    """Have ``seen`` filled while the model runs."""

    def enter(layer: int) -> Any:
        def before(*_: Any) -> None:
            seen.layer = layer

        return before

    def leave(_: Any, __: Any, output: tuple[Tensor, Any]) -> None:
        seen.keep(seen.layer, residual_rms=output[0].float().square().mean().sqrt())
        seen.layer = None

    def before_down(_: Any, arguments: tuple[Tensor]) -> None:
        seen.keep(seen.layer, mlp_dead=(arguments[0].flatten(0, 1) == 0).all(dim=0).float().mean())

    def before_attend(attend: Attend, arguments: tuple[Tensor, Tensor, Tensor]) -> None:
        seen.keep(seen.layer, attention_entropy=_entropy(*arguments[:2], attend.window))

    def gate(name: str) -> Any:
        def after(_: Any, __: Any, output: Tensor) -> None:
            share = torch.sigmoid(output.float())
            low, high = (share < 1 - PINNED).float().mean(), (share > PINNED).float().mean()
            seen.keep(seen.layer, **{f"{name}_low": low, f"{name}_high": high})

        return after

    hooks = [attend.register_forward_pre_hook(before_attend) for attend in model.attends.values()]
    for layer, block in enumerate(model.layers()):
        hooks += [block.register_forward_pre_hook(enter(layer)), block.register_forward_hook(leave)]
        mlp = block.mlp if isinstance(block.mlp, MLP) else block.mlp.shared
        if mlp is not None:
            hooks.append(mlp.down.register_forward_pre_hook(before_down))
        if block.attention.value_gate is not None:
            hooks.append(block.attention.value_gate.register_forward_hook(gate("value_gate")))
    if model.smear_gate is not None:
        hooks.append(model.smear_gate.register_forward_hook(gate("smear_gate")))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _entropy(q_BHTK: Tensor, k_BGTK: Tensor, window: int) -> Tensor:
    """Entropy of attention over its largest value, mean over heads and some queries of the first row; 0-d."""
    time = q_BHTK.size(2)
    at_Q = torch.linspace(time // 2, time - 1, min(_MAX_QUERIES, time), device=q_BHTK.device).long()
    q_HQK, k_GTK = q_BHTK[0, :, at_Q].float(), k_BGTK[0].float()
    k_HTK = k_GTK.repeat_interleave(q_HQK.size(0) // k_GTK.size(0), dim=0)
    distance_QT = at_Q[:, None] - torch.arange(time, device=at_Q.device)
    hidden_QT = (distance_QT < 0) | (distance_QT > window)
    scores_HQT = q_HQK @ k_HTK.mT / math.sqrt(q_HQK.size(-1))
    log_p_HQT = scores_HQT.masked_fill(hidden_QT, -torch.inf).log_softmax(dim=-1)
    entropy_HQ = -(log_p_HQT.exp() * log_p_HQT.masked_fill(hidden_QT, 0.0)).sum(dim=-1)
    return (entropy_HQ / (~hidden_QT).sum(dim=-1).clamp(min=2).log()).mean()


def _logits(model: GPT, x_BTD: Tensor) -> dict[str, Tensor]:
    """How many logits the softcap pins, of some tokens."""
    x_ND = x_BTD.flatten(0, 1)
    x_ND = x_ND[:: max(1, x_ND.size(0) // _MAX_LOGITS)]
    logits_NV = x_ND @ model.lm_head.weight[: model.vocab_size].to(x_ND.dtype).T
    tanh_NV = torch.tanh(logits_NV.float() / model.config.logit_softcap)
    return {
        "softcap_pinned": (tanh_NV.abs() > PINNED).float().mean(),
        "softcap_top_pinned": (tanh_NV.amax(dim=-1) > PINNED).float().mean(),
    }
