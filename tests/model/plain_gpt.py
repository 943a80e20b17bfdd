"""The baseline model written out plainly from its specification, fp32, one head at a time.

Nothing is shared with ``sweepkit.model``: explicit loops over heads and positions, naive softmax over
the keys that the window shows, no fused kernels. Slow on purpose; the model under test must agree with it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sweepkit.config.schema import ModelConfig
from sweepkit.plan.run_plan import RunPlan


def rms(x: Tensor) -> Tensor:
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + torch.finfo(torch.float32).eps)


def turn(x: Tensor, position: int, base: float) -> Tensor:
    """Rotate one head's vector [K] at ``position``: channel i pairs with channel i + K/2."""
    half = x.shape[0] // 2
    out = []
    for i in range(half):
        angle = torch.tensor(position * base ** (-2 * i / x.shape[0]))
        out.append(x[i] * angle.cos() + x[i + half] * angle.sin())
    for i in range(half):
        angle = torch.tensor(position * base ** (-2 * i / x.shape[0]))
        out.append(x[i + half] * angle.cos() - x[i] * angle.sin())
    return torch.stack(out)


def plain_bigrams(table: Tensor, tokens: Tensor) -> Tensor:
    """[T, D] rows of hashed pairs; the last row for the token that has none before it."""
    numbers, last = tokens.tolist(), table.shape[0] - 1
    rows = [last]
    for t in range(1, len(numbers)):
        rows.append(((36313 * numbers[t]) ^ (27191 * numbers[t - 1])) % last)
    return torch.stack([table[row] for row in rows])


def plain_attention(
    p: dict[str, Tensor], config: ModelConfig, plan: RunPlan, layer: int, x: Tensor, tokens: Tensor
) -> Tensor:
    """x [T, D], normed → [T, D]."""
    prefix = f"blocks.{layer}.attention"
    time, size = x.shape[0], plan.head_dim
    q, k, v = (x @ p[f"{prefix}.{name}.weight"].T for name in ("q", "k", "v"))
    heads = []
    for head in range(plan.num_heads):
        group = head * plan.num_kv_heads // plan.num_heads
        kv = slice(group * size, (group + 1) * size)
        value = v[:, kv]
        if layer in plan.value_embedding_layers:
            gate_weight = p[f"{prefix}.value_gate.weight"][group]
            gate = config.value_gate_scale * torch.sigmoid(x[:, : config.value_gate_channels] @ gate_weight)
            value = value + gate[:, None] * p[f"value_embeds.{layer}.weight"][tokens][:, kv]
        query = q[:, head * size : (head + 1) * size]
        query = torch.stack([turn(query[t], t, config.rope_base) for t in range(time)])
        key = torch.stack([turn(k[t, kv], t, config.rope_base) for t in range(time)])
        query, key = config.qk_scale * rms(query), config.qk_scale * rms(key)
        rows = []
        for t in range(time):
            seen = [s for s in range(time) if 0 <= t - s <= plan.windows[layer]]
            weights = torch.softmax(key[seen] @ query[t] / math.sqrt(size), dim=0)
            rows.append(weights @ value[seen])
        heads.append(torch.stack(rows))
    return torch.cat(heads, dim=-1) @ p[f"{prefix}.out.weight"].T


def plain_logits(
    p: dict[str, Tensor],
    config: ModelConfig,
    plan: RunPlan,
    tokens: Tensor,
    head: str = "lm_head.weight",
) -> Tensor:
    """One row of tokens [T] → softcapped logits [T, vocabulary], padding included."""
    x = rms(p["wte.weight"][tokens])
    if config.smear:
        smeared = [x[0]]
        for t in range(1, x.shape[0]):
            gate = torch.sigmoid(p["smear_gate.weight"][0] @ x[t, : config.smear_channels])
            smeared.append(x[t] + p["smear_lambda"] * gate * x[t - 1])
        x = torch.stack(smeared)
    x0 = x
    kept = x
    for layer in range(plan.depth):
        x = p["resid_lambdas"][layer] * x + p["x0_lambdas"][layer] * x0
        if "bigram_lambdas" in p and layer < len(p["bigram_lambdas"]):
            x = x + p["bigram_lambdas"][layer] * plain_bigrams(p["bigram_embeds.weight"], tokens)
        x = x + plain_attention(p, config, plan, layer, rms(x), tokens)
        hidden = torch.clamp(rms(x) @ p[f"blocks.{layer}.mlp.up.weight"].T, min=0) ** 2
        x = x + hidden @ p[f"blocks.{layer}.mlp.down.weight"].T
        if layer == plan.depth // 2:
            kept = x
    if "backout_lambda" in p:
        x = x - p["backout_lambda"] * kept
    logits = rms(x) @ p[head].T
    return config.logit_softcap * torch.tanh(logits / config.logit_softcap)


def plain_nats(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of each position [T]; 0 where the target is -1."""
    nats = []
    for row, target in zip(logits, targets.tolist(), strict=True):
        nats.append(-torch.log_softmax(row, dim=0)[target] if target >= 0 else torch.zeros(()))
    return torch.stack(nats)
