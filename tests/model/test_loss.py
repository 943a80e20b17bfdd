"""The fused projection and loss against torch's cross-entropy over all logits, values and both gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from sweepkit.model import loss
from sweepkit.model.loss import mean_nats, nats_and_gradient, softcap, token_nats

CAP = 15.0


def problem(num_tokens: int, width: int, vocab_size: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Stream, weight and targets; a third of the targets is not scored; logits reach the cap."""
    generator = torch.Generator().manual_seed(seed)
    x_ND = torch.randn(num_tokens, width, generator=generator)
    weight_VD = 4 * torch.randn(vocab_size, width, generator=generator)
    targets_N = torch.randint(0, vocab_size, (num_tokens,), generator=generator)
    hidden_N = torch.rand(num_tokens, generator=generator) < 1 / 3
    return x_ND, weight_VD, targets_N.masked_fill(hidden_N, -1)


def plain(x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, cap: float) -> Tensor:
    """Nats of every token, the straightforward way."""
    logits_NV = cap * torch.tanh(x_ND @ weight_VD.T / cap)
    return F.cross_entropy(logits_NV, targets_N, ignore_index=-1, reduction="none")


def both(
    x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, cap: float = CAP
) -> tuple[list[Tensor], list[Tensor]]:
    """Mean loss, its two gradients scaled by 3, and nats: of the code under test, and in fp64."""
    results = []
    for fused in (True, False):
        dtype = x_ND.dtype if fused else torch.float64
        x = x_ND.to(dtype, copy=True).requires_grad_()
        weight = weight_VD.to(torch.float32 if fused else dtype, copy=True).requires_grad_()
        if fused:
            nats = token_nats(x, weight, targets_N, cap, nats_and_gradient)
            mean = mean_nats(x, weight, targets_N, cap, nats_and_gradient)
        else:
            nats = plain(x, weight, targets_N, cap)
            mean = nats.sum() / (targets_N >= 0).sum().clamp(min=1)
        (3 * mean).backward()
        assert x.grad is not None and weight.grad is not None
        results.append([mean.detach(), nats.detach(), x.grad, weight.grad])
    return results[0], results[1]


@settings(max_examples=30, deadline=None)
@given(
    num_tokens=st.integers(1, 40),
    vocab_size=st.integers(2, 70),
    chunk=st.integers(1, 1500),
    tile=st.integers(1, 500),
    cap=st.sampled_from([2.0, 15.0, 200.0]),
    seed=st.integers(0, 3),
)
def test_values_and_gradients_however_it_is_cut(
    num_tokens: int, vocab_size: int, chunk: int, tile: int, cap: float, seed: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(loss._CHUNK_LOGITS, "cpu", chunk)
        patch.setitem(loss._TILE_LOGITS, "cpu", tile)
        got, expected = both(*problem(num_tokens, 8, vocab_size, seed), cap)
    for mine, theirs in zip(got, expected, strict=True):
        assert mine.dtype == torch.float32
        torch.testing.assert_close(mine.double(), theirs, atol=2e-5, rtol=1e-4)


def test_int32_targets_and_nothing_scored() -> None:
    x, weight, targets = problem(12, 8, 20)
    assert torch.equal(
        token_nats(x, weight, targets, CAP, nats_and_gradient),
        token_nats(x, weight, targets.int(), CAP, nats_and_gradient),
    )
    got, _ = both(x, weight, torch.full((12,), -1))
    assert all(not value.any() for value in got)


def test_bf16_rounds_and_no_more() -> None:
    """Against fp64 on the same rounded inputs: logits, their gradient and results are rounded once."""
    x, weight, targets = problem(256, 32, 500)
    weight = (weight / 10).bfloat16().float()
    got, expected = both(x.bfloat16(), weight, targets)
    assert [value.dtype for value in got] == [torch.float32, torch.float32, torch.bfloat16, torch.float32]
    for mine, theirs in zip(got, expected, strict=True):
        error = (mine.double() - theirs).norm() / theirs.norm()
        assert error < 0.01


def test_small_gradients_survive_fp16() -> None:
    """Before the loss scale most are below fp16's normal numbers, where bits are lost."""
    x, weight, targets = problem(2000, 8, 500)
    x, weight = x.half().requires_grad_(), (weight / 10).half().float().requires_grad_()
    (2.0**15 * mean_nats(x, weight, targets, CAP, nats_and_gradient)).backward()
    exact_x, exact_weight = (t.detach().double().requires_grad_() for t in (x, weight))
    scored = (targets >= 0).sum()
    (2.0**15 * plain(exact_x, exact_weight, targets, CAP).sum() / scored).backward()
    for mine, exact in ((x, exact_x), (weight, exact_weight)):
        assert mine.grad is not None and exact.grad is not None
        assert (mine.grad.double() - exact.grad).norm() < 2e-3 * exact.grad.norm()


@pytest.mark.parametrize("share", [0.17, 1.0])
@pytest.mark.parametrize("mean", [8.0, -60.0])
def test_a_frequent_token_and_a_large_channel_stay_finite_in_fp16(share: float, mean: float) -> None:
    """The weight's gradient sums over all tokens before it is divided by their number: up to 4e6 here."""
    num_tokens = 65_536
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(num_tokens, 4, generator=generator)
    x[:, 1] += mean
    weight = 1e-3 * torch.randn(64, 4, generator=generator)
    targets = torch.randint(0, 64, (num_tokens,), generator=generator)
    targets[torch.rand(num_tokens, generator=generator) < share] = 7
    x, weight = x.half().requires_grad_(), weight.half().float().requires_grad_()
    mean_nats(x, weight, targets, CAP, nats_and_gradient).backward()
    exact_x, exact_weight = (t.detach().double().requires_grad_() for t in (x, weight))
    plain(exact_x, exact_weight, targets, CAP).mean().backward()
    assert weight.grad is not None and exact_weight.grad is not None
    assert weight.grad.dtype is torch.float32
    assert (weight.grad.double() - exact_weight.grad).norm() < 2e-3 * exact_weight.grad.norm()


def test_extreme_logits_stay_finite() -> None:
    x, weight = torch.full((2, 1), 1e4), torch.tensor([[1.0], [-1.0]])
    for cap in (15.0, 1e4):
        nats = token_nats(x, weight, torch.tensor([0, 1]), cap, nats_and_gradient)
        torch.testing.assert_close(nats, plain(x, weight, torch.tensor([0, 1]), cap), atol=1e-4, rtol=1e-5)
    assert softcap(torch.tensor([1e30, -1e30]), 15.0).tolist() == [15.0, -15.0]


def test_softcap_is_tanh() -> None:
    logits = torch.linspace(-100, 100, 4001)
    torch.testing.assert_close(softcap(logits, 15.0), 15 * torch.tanh(logits / 15), atol=4e-6, rtol=1e-6)


class _Largest(TorchDispatchMode):
    """The most elements of any tensor that an operation gives back."""

    numel = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in result if isinstance(result, tuple | list) else (result,):
            if isinstance(value, Tensor):
                self.numel = max(self.numel, value.numel())
        return result


def test_no_array_holds_all_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing larger than a chunk or the weight is ever made, forward and backward."""
    monkeypatch.setitem(loss._CHUNK_LOGITS, "cpu", 16 * 300)
    monkeypatch.setitem(loss._TILE_LOGITS, "cpu", 4 * 300)
    x, weight, targets = problem(64, 8, 300)
    x.requires_grad_()
    weight.requires_grad_()
    with _Largest() as largest:
        mean_nats(x, weight, targets, CAP, nats_and_gradient).backward()
        token_nats(x, weight, targets, CAP, nats_and_gradient)
    assert largest.numel == 16 * 300 < 64 * 300
