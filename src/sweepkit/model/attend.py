"""The attention kernels behind one module; all compute the same softmax attention.

``flash3``: FlashAttention 3, where it is installed and runs. ``banded``: layers with a window attend in
blocks of queries, each to the keys it can see, so that their cost grows with the window and not with the
context; made of torch's scaled_dot_product_attention, so it runs everywhere. ``sdpa``: that function alone,
with an additive mask where there is a window. Layers without a window are the same in the last two.

Shapes: B batch, T time, H query heads, G key/value heads, K head size, N blocks, Q queries of a block, S keys
of a block.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sweepkit.config.choices import AttentionBackend
from sweepkit.errors import invalid
from sweepkit.model import flash3

_MIN_BLOCK = 128  # queries: smaller blocks cost more in overhead than they save in keys


def choose(
    request: AttentionBackend, device: torch.device, dtype: torch.dtype, head_dim: int
) -> tuple[AttentionBackend, str]:
    """The backend of a run and why: flash3 where it runs, else banded on a GPU, else sdpa.

    On a CPU the bands cost more in copies than they save at the sizes that are trained there.

    Raises:
        ConfigError: flash3 is asked for and does not run here.
    """
    flash, why = flash3.available(device, dtype, head_dim)
    if request is AttentionBackend.flash3 and not flash:
        raise invalid("trainer.attention", "flash3", f"run here ({why})", "use trainer.attention=auto")
    if request is not AttentionBackend.auto:
        return request, f"trainer.attention={request.name}"
    if flash:
        return AttentionBackend.flash3, f"auto: {why}"
    if device.type == "cuda":
        return AttentionBackend.banded, f"auto: {why}"
    return AttentionBackend.sdpa, f"auto: {device.type}"


class Attend(nn.Module):
    """Causal attention with scale 1/√K; a key is visible when 0 <= query - key <= window."""

    def __init__(
        self,
        backend: AttentionBackend,
        window: int,
        sequence_len: int,
        dtype: torch.dtype,
        device: torch.device | str | None,
    ) -> None:
        """``backend`` is not auto; ``dtype`` is that of queries, keys and values."""
        super().__init__()
        self.window = window
        self.backend = backend
        if window >= sequence_len - 1 and backend is AttentionBackend.banded:
            self.backend = AttentionBackend.sdpa
        self.block = min(max(window, _MIN_BLOCK), max(sequence_len - window, 1))
        mask = None
        if self.backend is AttentionBackend.banded:
            mask = band(self.block, self.block + window, window, window, dtype)
        elif self.backend is AttentionBackend.sdpa and window < sequence_len - 1:
            mask = band(sequence_len, sequence_len, window, 0, dtype)
        self.mask: Tensor | None
        self.register_buffer("mask", None if mask is None else mask.to(device), persistent=False)

    def forward(self, q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor) -> Tensor:
        """[B, H, T, K] of queries [B, H, T, K], keys and values [B, G, T, K]; T at most the planned one."""
        time = q_BHTK.size(2)
        if self.backend is AttentionBackend.flash3:
            return flash3.attend(q_BHTK, k_BGTK, v_BGTK, self.window)
        if self.mask is None or time <= self.window + 1:
            return _causal(q_BHTK, k_BGTK, v_BGTK)
        if self.backend is AttentionBackend.sdpa:
            return masked(q_BHTK, k_BGTK, v_BGTK, self.mask[:time, :time])
        return self._banded(q_BHTK, k_BGTK, v_BGTK, self.mask)

    def _banded(self, q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor, mask_QS: Tensor) -> Tensor:
        """The first ``window`` queries see all that came before; the others go in blocks."""
        window, block = self.window, self.block
        first_BHTK = _causal(q_BHTK[:, :, :window], k_BGTK[:, :, :window], v_BGTK[:, :, :window])
        batch, heads, time, size = q_BHTK.shape
        num_blocks = -(-(time - window) // block)
        missing = num_blocks * block - (time - window)  # keys of the future, which no query sees
        q_BHTK, k_BGTK, v_BGTK = (F.pad(x, (0, 0, 0, missing)) for x in (q_BHTK, k_BGTK, v_BGTK))
        q_XHQK = (
            q_BHTK[:, :, window:].reshape(batch, heads, num_blocks, block, size).transpose(1, 2).flatten(0, 1)
        )
        k_XGSK, v_XGSK = (
            x.unfold(2, block + window, block).permute(0, 2, 1, 4, 3).flatten(0, 1) for x in (k_BGTK, v_BGTK)
        )
        y_XHQK = masked(q_XHQK, k_XGSK, v_XGSK, mask_QS)
        y_BHTK = (
            y_XHQK.view(batch, num_blocks, heads, block, size).transpose(1, 2).reshape(batch, heads, -1, size)
        )
        return torch.cat((first_BHTK, y_BHTK), dim=2)[:, :, :time]


def band(num_queries: int, num_keys: int, window: int, offset: int, dtype: torch.dtype) -> Tensor:
    """Additive mask [queries, keys]: 0 where 0 <= query + offset - key <= window, else -inf."""
    distance = torch.arange(num_queries)[:, None] + offset - torch.arange(num_keys)[None, :]
    hidden = (distance < 0) | (distance > window)
    return torch.zeros(num_queries, num_keys, dtype=dtype).masked_fill_(hidden, -torch.inf)


def _causal(q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor) -> Tensor:
    grouped = q_BHTK.size(1) != k_BGTK.size(1)
    return F.scaled_dot_product_attention(q_BHTK, k_BGTK, v_BGTK, is_causal=True, enable_gqa=grouped)


def masked(q_BHQK: Tensor, k_BGSK: Tensor, v_BGSK: Tensor, mask_QS: Tensor) -> Tensor:
    """[B, H, Q, K]; the mask is additive or bool, [Q, S] or [B, 1, Q, S]."""
    # With a mask and groups CUDA has only the kernel that writes out all scores: repeat the heads instead.
    repeats = q_BHQK.size(1) // k_BGSK.size(1)
    if repeats > 1:
        k_BGSK, v_BGSK = (x.repeat_interleave(repeats, dim=1) for x in (k_BGSK, v_BGSK))
    return F.scaled_dot_product_attention(q_BHQK, k_BGSK, v_BGSK, attn_mask=mask_QS)
