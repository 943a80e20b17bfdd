"""FlashAttention 3 (arXiv 2407.08608), where it is there: Hopper GPUs, bf16.

It comes as the package ``flash_attn_interface`` (built from its source) or from the kernel hub through the
package ``kernels``. A run never downloads it: compute nodes have no network, and a sweep whose first run
fetched it would not be the sweep that was planned. ``fetch`` does, for ``sweepkit doctor --prefetch``.

Shapes: B batch, T time, H query heads, G key/value heads, K head size.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from sweepkit.errors import SweepkitError

HUB_REPOSITORY, HUB_VERSION = "kernels-community/flash-attn3", 1
_CAPABILITY = (9, 0)
_HEAD_DIM_MULTIPLE, _MAX_HEAD_DIM = 8, 256
_REMEDY = "sweepkit doctor --prefetch fetches it"


def available(device: torch.device, dtype: torch.dtype, head_dim: int) -> tuple[bool, str]:
    """Whether FlashAttention 3 can be used, and the fact that says so; loads it if so."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) != _CAPABILITY:
        return False, "FlashAttention 3 is for Hopper GPUs (SM 9.0)"
    if dtype is not torch.bfloat16:
        return False, "FlashAttention 3 is used in bf16 only"
    if head_dim % _HEAD_DIM_MULTIPLE or head_dim > _MAX_HEAD_DIM:
        return (
            False,
            f"FlashAttention 3 takes heads of multiples of {_HEAD_DIM_MULTIPLE} up to {_MAX_HEAD_DIM}",
        )
    function, source = _load()
    return function is not None, source


def attend(q_BHTK: Tensor, k_BGTK: Tensor, v_BGTK: Tensor, window: int) -> Tensor:
    """Causal attention [B, H, T, K] to the ``window`` tokens before and the token itself."""
    function, source = _load()
    assert function is not None, source
    time = q_BHTK.size(2)
    q_BTHK, k_BTGK, v_BTGK = (x.transpose(1, 2) for x in (q_BHTK, k_BGTK, v_BGTK))
    left = window if window < time - 1 else -1  # -1: everything
    result = function(q_BTHK, k_BTGK, v_BTGK, causal=True, window_size=(left, 0 if left >= 0 else -1))
    y_BTHK: Tensor = result[0] if isinstance(result, tuple) else result  # some versions add the log-sum-exp
    return y_BTHK.transpose(1, 2)


def fetch() -> str:
    """Download it from the kernel hub; returns what was done.

    Raises:
        SweepkitError: the package is not installed.
        Exception: what ``kernels`` raises when the hub cannot be reached or has no build for this machine.
    """
    try:
        kernels = importlib.import_module("kernels")
    except ImportError as error:
        raise SweepkitError(
            "the package kernels is not installed; pip install 'sweepkit[cuda]' brings it"
        ) from error
    kernels.install_kernel(HUB_REPOSITORY, version=HUB_VERSION)
    _load.cache_clear()
    return f"{HUB_REPOSITORY} version {HUB_VERSION} is in the hub's cache"


@functools.cache
def _load() -> tuple[Callable[..., Any] | None, str]:
    """The function and where it is from; None and why not."""
    with contextlib.suppress(ImportError):
        return importlib.import_module("flash_attn_interface").flash_attn_func, "flash_attn_interface"
    try:
        kernels = importlib.import_module("kernels")
    except ImportError:
        return None, "FlashAttention 3 is not installed (neither flash_attn_interface nor kernels)"
    try:
        with _offline():
            module = kernels.get_kernel(HUB_REPOSITORY, version=HUB_VERSION)
        return module.flash_attn_func, f"{HUB_REPOSITORY} version {HUB_VERSION}"
    except Exception as error:  # not fetched, or no build for this torch: the next best is used, and said
        lines = str(error).splitlines() or [type(error).__name__]
        return None, f"FlashAttention 3 does not load ({lines[0]}); {_REMEDY}"


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """The hub answers from its cache only."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
