"""Every attention backend against plain softmax attention: values, gradients, windows, grouped queries."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_attention import plain_attention
from torch import Tensor

from sweepkit.config.choices import AttentionBackend
from sweepkit.errors import ConfigError
from sweepkit.model import attend, flash3
from sweepkit.model.attend import Attend, band

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
AUTO, FLASH3 = AttentionBackend.auto, AttentionBackend.flash3
BANDED, SDPA = AttentionBackend.banded, AttentionBackend.sdpa
BF16 = torch.bfloat16


def agrees(backend: AttentionBackend, time: int, window: int, heads: int, groups: int, seed: int = 0) -> None:
    """Values and the three gradients, fp32 against fp64; in memory as the model lays it out."""
    generator = torch.Generator().manual_seed(seed)

    def made(num: int) -> Tensor:
        return torch.randn(2, time, num, 8, generator=generator).transpose(1, 2).requires_grad_()

    inputs = (made(heads), made(groups), made(groups))
    gradient = torch.randn(2, heads, time, 8, generator=generator)
    plain = plain_attention(*inputs, window)
    found = Attend(backend, window, time, torch.float32, CPU)(*inputs)
    torch.testing.assert_close(found.double(), plain, atol=1e-5, rtol=1e-5)
    expected = torch.autograd.grad(plain, inputs, gradient.double())
    for ours, theirs in zip(torch.autograd.grad(found, inputs, gradient), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("backend", [SDPA, BANDED])
@pytest.mark.parametrize("groups", [4, 2, 1])
def test_backends_agree_with_plain_attention(backend: AttentionBackend, groups: int) -> None:
    for time, window in ((12, 12), (12, 11), (12, 3), (200, 70), (150, 128), (5, 1)):
        agrees(backend, time, window, heads=4, groups=groups)


@settings(max_examples=15)
@given(time=st.integers(1, 60), window=st.integers(1, 70), block=st.integers(1, 20), seed=st.integers(0, 99))
def test_bands_of_any_size_agree(time: int, window: int, block: int, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attend, "_MIN_BLOCK", block)
        agrees(BANDED, time, window, heads=2, groups=1, seed=seed)


@pytest.mark.parametrize("backend", [SDPA, BANDED])
def test_a_shorter_text_is_the_beginning_of_a_longer_one(backend: AttentionBackend) -> None:
    """What the sampler asks for: fewer tokens than planned."""
    q, k, v = (torch.randn(1, 2, 40, 8) for _ in range(3))
    layer = Attend(backend, 6, 40, torch.float32, CPU)
    whole = layer(q, k, v)
    for time in (1, 6, 7, 8, 39):
        torch.testing.assert_close(layer(q[:, :, :time], k[:, :, :time], v[:, :, :time]), whole[:, :, :time])


def test_the_band_counts_both_ends() -> None:
    mask = band(6, 6, 2, 0, torch.float32)
    visible = [[s for s in range(6) if mask[t, s] == 0] for t in range(6)]
    assert visible == [[0], [0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]]
    assert (mask[mask != 0] == -torch.inf).all()


def flash_like(
    q_BTHK: Tensor, k_BTGK: Tensor, v_BTGK: Tensor, causal: bool, window_size: tuple[int, int]
) -> Tensor:
    """FlashAttention's interface: heads after time, -1 for no limit on that side."""
    assert causal
    left, right = window_size
    assert right == (0 if left >= 0 else -1)
    window = q_BTHK.size(1) if left < 0 else left
    q, k, v = (x.transpose(1, 2) for x in (q_BTHK, k_BTGK, v_BTGK))
    return plain_attention(q, k, v, window).to(q.dtype).transpose(1, 2)


@pytest.fixture
def no_flash(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("flash_attn_interface", "kernels"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    flash3._load.cache_clear()


@pytest.fixture
def flash(no_flash: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn_interface", SimpleNamespace(flash_attn_func=flash_like))


@pytest.mark.usefixtures("flash")
def test_flash_attention_is_called_as_it_wants_to_be() -> None:
    """Its layout, its window and its grouped queries, through a stand-in with its interface."""
    for groups in (4, 2):
        for time, window in ((12, 12), (12, 11), (12, 3)):
            agrees(FLASH3, time, window, heads=4, groups=groups)


@pytest.mark.usefixtures("flash")
def test_flash_attention_is_for_hopper_in_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    assert attend.choose(AUTO, CUDA, BF16, 64) == (FLASH3, "auto: flash_attn_interface")
    assert attend.choose(AUTO, CUDA, torch.float32, 64)[0] is BANDED
    assert attend.choose(AUTO, CPU, BF16, 64)[0] is SDPA
    assert attend.choose(SDPA, CUDA, BF16, 64)[0] is SDPA
    assert attend.choose(AUTO, CUDA, BF16, 256)[0] is FLASH3
    for head_dim in (20, 264):  # it would raise, in the first step
        chosen, why = attend.choose(AUTO, CUDA, BF16, head_dim)
        assert chosen is BANDED and "multiples of 8 up to 256" in why
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (10, 0))
    chosen, why = attend.choose(AUTO, CUDA, BF16, 64)
    assert chosen is BANDED and "Hopper" in why


@pytest.mark.usefixtures("no_flash")
def test_without_flash_attention_the_reason_is_said() -> None:
    chosen, why = attend.choose(AUTO, CUDA, BF16, 64)
    assert chosen is BANDED and "not installed" in why
    with pytest.raises(ConfigError, match=r"'flash3'.*not installed.*trainer.attention=auto"):
        attend.choose(FLASH3, CUDA, BF16, 64)


@pytest.mark.usefixtures("no_flash")
def test_a_kernel_of_the_hub_is_taken_from_its_cache_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    fetched: list[str] = []

    def get_kernel(repository: str, version: int) -> SimpleNamespace:
        assert constants.HF_HUB_OFFLINE, "it would download"
        if repository not in fetched:
            raise ValueError("not in the local cache")
        return SimpleNamespace(flash_attn_func=flash_like)

    hub = SimpleNamespace(
        get_kernel=get_kernel, install_kernel=lambda repository, version: fetched.append(repository)
    )
    monkeypatch.setitem(sys.modules, "kernels", hub)
    before = constants.HF_HUB_OFFLINE
    chosen, why = attend.choose(AUTO, CUDA, BF16, 64)
    assert chosen is BANDED and "not in the local cache" in why and "--prefetch" in why
    flash3.fetch()
    chosen, why = attend.choose(AUTO, CUDA, BF16, 64)
    assert chosen is FLASH3 and "flash-attn3" in why
    assert before == constants.HF_HUB_OFFLINE
