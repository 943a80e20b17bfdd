"""The GPT of the baseline: embeddings, smear, blocks with x0 and value embeddings, backout, head.

A model is built from a RunPlan, which has settled every size, and from the descriptions of its parts
(``plan/parts.py``), which name every parameter and its shape. It is built uninitialised (on the meta
device too, where it only counts); ``initialize(seed)`` fills it in place. ``compile_regions`` compiles the
pieces of the blocks and the loss, not the whole: four small graphs whatever the depth.

Shapes: B batch, T time, D width, E key/value width, V vocabulary.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from sweepkit.config.choices import AttentionBackend
from sweepkit.config.schema import RunConfig
from sweepkit.model import init
from sweepkit.model.attend import Attend
from sweepkit.model.block import Block
from sweepkit.model.branched import BranchedAttend, BranchedRows, Spread
from sweepkit.model.experts import Experts
from sweepkit.model.layers import Embedding, Linear, bigram_rows, norm, rotary_tables
from sweepkit.model.loss import (
    InComputeDtype,
    Project,
    further_targets,
    mean_nats,
    nats_and_gradient,
    softcap,
    token_nats,
    token_ranks,
    weighted_mean_nats,
    weighted_nats_and_gradient,
)
from sweepkit.plan import part_weights, parts
from sweepkit.plan.roles import ROLES
from sweepkit.plan.run_plan import RunPlan


def build_model(
    plan: RunPlan,
    compute_dtype: torch.dtype,
    device: torch.device | str,
    attention: AttentionBackend = AttentionBackend.sdpa,
) -> GPT:
    """Build the planned model, uninitialised.

    Args:
        plan: settles every size and switch.
        compute_dtype: of activations and embedding tables; other parameters are fp32.
        device: where it lives; "meta" allocates nothing.
        attention: the kernel, not auto.
    """
    # a copy of what ``Engine.renew`` changes: plans share their configurations
    own = dataclasses.replace(plan.config, model=dataclasses.replace(plan.config.model))
    return GPT(own, plan, compute_dtype, torch.device(device), attention)


class GPT(nn.Module):
    """See the module's docstring; ``baseline`` values are the defaults of ``ModelConfig``.

    ``training_project`` replaces the vocabulary projection's products while training (FP8), as
    ``training_product`` does a ``Linear``'s.
    """

    training_project: Project | None

    def __init__(
        self,
        config: RunConfig,
        plan: RunPlan,
        compute_dtype: torch.dtype,
        device: torch.device,
        attention: AttentionBackend,
    ) -> None:
        super().__init__()
        self.run_config, self.compute_dtype = config, compute_dtype
        self.config, self.vocab_size = config.model, config.tokenizer.vocab_size
        self.weights = part_weights.by_parameter(parts.describe(config))  # of every parameter, by its name
        self.sequence_len, self.backout_layer = plan.sequence_len, plan.depth // 2
        self.wte = self._table("wte", device)
        self.blocks = nn.ModuleList(
            Block(config.model, part_weights.within(self.weights, f"blocks.{i}."), device)
            for i in range(plan.depth)
        )
        self.value_embeds = nn.ModuleDict(
            {str(i): self._table(f"value_embeds.{i}", device) for i in plan.value_embedding_layers}
        )
        self.lm_head = self._linear("lm_head", device)
        self.resid_lambdas = self._factor("resid_lambdas", device)
        self.x0_lambdas = self._factor("x0_lambdas", device)
        has_bigrams = "bigram_lambdas" in self.weights
        self.bigram_embeds = self._table("bigram_embeds", device) if has_bigrams else None
        self.bigram_lambdas = self._factor("bigram_lambdas", device) if has_bigrams else None
        has_smear, has_backout = ("smear_lambda" in self.weights, "backout_lambda" in self.weights)
        self.smear_gate = self._linear("smear_gate", device) if has_smear else None
        self.smear_lambda = self._factor("smear_lambda", device) if has_smear else None
        self.backout_lambda = self._factor("backout_lambda", device) if has_backout else None
        base, length = config.model.rope_base, plan.sequence_len
        cos, sin = rotary_tables(length, plan.head_dim, base, compute_dtype, device)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.training_project = None
        self._nats_and_gradient, self._weighted = nats_and_gradient, weighted_nats_and_gradient
        self._compiled = False
        num_heads = len(part_weights.within(self.weights, "further_heads."))
        self.further_heads = nn.ModuleList(
            self._linear(f"further_heads.{i}", device) for i in range(num_heads)
        )
        num_further = config.model.multi_token.num_further
        self.register_buffer("further_weights", torch.zeros(num_further, device=device), persistent=False)
        self.windows = plan.windows
        self.attends = nn.ModuleDict(
            {
                str(window): Attend(attention, window, plan.sequence_len, compute_dtype, device)
                for window in set(plan.windows)
            }
        )

    def _table(self, name: str, device: torch.device) -> Embedding:
        rows, width = self.weights[f"{name}.weight"].shape
        return Embedding(rows, width, self.compute_dtype, device)

    def _linear(self, name: str, device: torch.device) -> Linear:
        rows, columns = self.weights[f"{name}.weight"].shape
        return Linear(columns, rows, device)

    def _factor(self, name: str, device: torch.device) -> nn.Parameter:
        return nn.Parameter(torch.empty(self.weights[name].shape, device=device))

    def initialize(self, seed: int) -> None:
        """Fill every parameter in place from ``seed``: the same bits every time, on every device."""
        described = part_weights.by_parameter(parts.describe(self.run_config))
        init.initialize(self, described, seed, self.config.init_moved_by)
        for experts in self.experts():
            experts.bias.zero_()
            experts.load.zero_()
        self.zero_grad(set_to_none=True)

    def layers(self) -> Iterator[Block]:
        """The blocks, first to last."""
        return (cast(Block, block) for block in self.blocks)

    def experts(self) -> list[Experts]:
        """Those of every layer, first to last; empty where layers have MLPs."""
        return [block.mlp for block in self.layers() if isinstance(block.mlp, Experts)]

    def compile_regions(self, **options: Any) -> None:
        """Compile blocks and loss; what is left (lookups, smear, the head's matmuls) runs as it is.

        The graphs are traced for one shape [B, T] with gradients. Evaluation goes through the same graphs, so
        that nothing is compiled twice. ``options`` go to ``torch.compile``.
        """
        for block in self.layers():
            block.compile_pieces(**options)
        self._nats_and_gradient = torch.compile(nats_and_gradient, **options)
        self._weighted = torch.compile(weighted_nats_and_gradient, **options)
        self._compiled = True

    def forward(
        self,
        inputs_BT: Tensor,
        targets_BT: Tensor | None = None,
        loss: Literal["mean", "none"] = "mean",
    ) -> Tensor:
        """Logits, or the loss in nats when there are targets.

        Args:
            inputs_BT: token ids, int32 or int64, T at most the planned sequence length.
            targets_BT: the tokens to predict; -1 is not scored. None: return logits.
            loss: "mean" over the scored tokens, or "none" for one value a token, which has no gradient.

        Returns:
            fp32: logits [B, T, vocab_size], a scalar, or nats [B, T] (0 where not scored).
        """
        if torch.is_grad_enabled() or not self._compiled:
            return self._forward(inputs_BT, targets_BT, loss)
        with torch.enable_grad():  # the graphs of training
            return self._forward(inputs_BT, targets_BT, loss).detach()

    def continuations(
        self, rows: BranchedRows, shape: tuple[int, int], index_S: Tensor, target_S: Tensor
    ) -> tuple[Tensor, Tensor]:
        """How well tokens are predicted in rows with branches; has no gradient.

        Args:
            shape: B and T that graphs were compiled for; rows hold at most as many tokens.
            index_S: places in the rows, one row after the other, whose next token is looked at.
            target_S: that token.

        Returns:
            Its nats, fp32 [S], and whether no token is more likely, bool [S].
        """
        with torch.set_grad_enabled(self._compiled):  # the graphs of training
            spread = rows.spread(*shape)
            x_BTD, _ = self.stream(spread.tokens_BT, spread)
        with torch.no_grad():
            return token_ranks(
                x_BTD.detach().flatten(0, 1)[index_S],
                self.lm_head.weight[: self.vocab_size],
                target_S,
                self.config.logit_softcap,
            )

    def training_loss(self, inputs_BT: Tensor, targets_BT: Tensor) -> tuple[Tensor, Tensor]:
        """What is differentiated, and the mean nats of the next token, which has no gradient.

        They are the same where the next token is all that is predicted.
        """
        x_BTD, unevenness = self.stream(inputs_BT)
        num_further = self.config.multi_token.num_further
        loss, next_token = self._mean_nats(x_BTD.flatten(0, 1), targets_BT, num_further)
        if unevenness:
            loss = loss + self.config.experts.loss_weight * torch.stack(unevenness).mean()
        return loss, next_token

    def _mean_nats(self, x_ND: Tensor, targets_BT: Tensor, num_further: int) -> tuple[Tensor, Tensor]:
        """The weighted mean nats of all tokens that a position predicts, and those of the next alone."""
        head_VD, cap = self.lm_head.weight[: self.vocab_size], self.config.logit_softcap
        project = (self.training and self.training_project) or InComputeDtype
        if not num_further:
            loss = mean_nats(x_ND, head_VD, targets_BT.flatten(), cap, self._nats_and_gradient, project)
            return loss, loss.detach()
        targets_NK = further_targets(targets_BT, num_further).flatten(0, 1)
        weights_K = self.get_buffer("further_weights")
        if not self.further_heads:
            weights_K = torch.cat((torch.ones_like(weights_K[:1]), weights_K))
            return weighted_mean_nats(x_ND, head_VD, targets_NK, weights_K, cap, self._weighted, project)
        heads = (head_VD, *(cast(Linear, head).weight[: self.vocab_size] for head in self.further_heads))
        first, *others = (
            mean_nats(x_ND, head, targets_N.contiguous(), cap, self._nats_and_gradient, project)
            for head, targets_N in zip(heads, targets_NK.unbind(1), strict=True)
        )
        return first + (weights_K * torch.stack(others)).sum(), first.detach()

    def _forward(self, inputs_BT: Tensor, targets_BT: Tensor | None, loss: Literal["mean", "none"]) -> Tensor:
        x_BTD, _ = self.stream(inputs_BT)
        if targets_BT is None:
            return softcap(self.lm_head(x_BTD)[..., : self.vocab_size], self.config.logit_softcap)
        x_ND = x_BTD.flatten(0, 1)
        if loss == "mean":
            return self._mean_nats(x_ND, targets_BT, num_further=0)[0]
        head_VD, cap = self.lm_head.weight[: self.vocab_size], self.config.logit_softcap
        nats_N = token_nats(x_ND, head_VD, targets_BT.flatten(), cap, self._nats_and_gradient)
        return nats_N.view(targets_BT.shape)

    def stream(self, inputs_BT: Tensor, spread: Spread | None = None) -> tuple[Tensor, list[Tensor]]:
        """What the head multiplies, [B, T, D]: the normed stream after all blocks; losses of uneven loads.

        Args:
            spread: the rows that the tokens are of, where they are not these.
        """
        unevenness: list[Tensor] = []
        time = inputs_BT.size(1)
        cos, sin = self.get_buffer("cos")[:time], self.get_buffer("sin")[:time]
        attends: dict[str, Any] = dict(self.attends.items())
        if spread is not None:
            attends = {
                window: BranchedAttend(
                    cast(Attend, attend), spread, self.get_buffer("cos"), self.get_buffer("sin")
                )
                for window, attend in attends.items()
            }
            cos, sin = torch.ones_like(cos), torch.zeros_like(sin)
        x_BTD = self._stem(self.wte(inputs_BT), spread)
        # A view: were both the same object in block 0, that block would be traced as another graph.
        x0_BTD, backout_BTD = x_BTD.view_as(x_BTD), None
        resid_lambdas, x0_lambdas = self.resid_lambdas.unbind(), self.x0_lambdas.unbind()
        bigrams = self._bigrams(inputs_BT, spread)
        for i, block in enumerate(self.blocks):
            table, attend = str(i), attends[str(self.windows[i])]
            ve_BTE = self.value_embeds[table](inputs_BT) if table in self.value_embeds else None
            x_BTD, uneven = block(
                x_BTD, x0_BTD, resid_lambdas[i], x0_lambdas[i], ve_BTE, cos, sin, attend, bigrams.get(i)
            )
            unevenness += [] if uneven is None else [uneven]
            if i == self.backout_layer and self.backout_lambda is not None:
                backout_BTD = x_BTD
        if backout_BTD is not None:
            assert self.backout_lambda is not None
            x_BTD = x_BTD - self.backout_lambda * backout_BTD
        return norm(x_BTD), unevenness

    def _bigrams(self, inputs_BT: Tensor, spread: Spread | None) -> dict[int, tuple[Tensor, Tensor]]:
        """Layer → its λ and the bigrams' rows [B, T, D]; empty where there are none."""
        if self.bigram_embeds is None or self.bigram_lambdas is None:
            return {}
        num_rows = self.bigram_embeds.weight.size(0)
        rows_BT = bigram_rows(inputs_BT, num_rows) if spread is None else spread.bigram_rows(num_rows)
        rows_BTD = self.bigram_embeds(rows_BT)
        return {i: (scale, rows_BTD) for i, scale in enumerate(self.bigram_lambdas.unbind())}

    def _stem(self, x_BTD: Tensor, spread: Spread | None) -> Tensor:
        """Norm, then smear: every token takes a gated share of the one before it."""
        x_BTD = norm(x_BTD)
        if self.smear_gate is None or self.smear_lambda is None:
            return x_BTD
        if spread is not None:
            return x_BTD + self._smear(x_BTD) * spread.before(x_BTD)
        later_BTD = x_BTD[:, 1:]
        return torch.cat((x_BTD[:, :1], later_BTD + self._smear(later_BTD) * x_BTD[:, :-1]), dim=1)

    def _smear(self, x_BTD: Tensor) -> Tensor:
        """The gate of every token, [B, T, 1]."""
        assert self.smear_gate is not None and self.smear_lambda is not None
        return self.smear_lambda * torch.sigmoid(self.smear_gate(x_BTD[..., : self.config.smear_channels]))

    def parameter_roles(self) -> dict[str, list[tuple[str, nn.Parameter]]]:
        """Every parameter once, by the optimizer group it belongs to, in a fixed order."""
        roles: dict[str, list[tuple[str, nn.Parameter]]] = {role: [] for role in ROLES}
        for name, parameter in self.named_parameters():
            roles[self.weights[name].role].append((name, parameter))
        return roles
