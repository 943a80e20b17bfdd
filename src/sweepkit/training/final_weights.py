"""The weights that a complete run ends with: ``weights.safetensors`` in its folder.

Parameters by name, the raw ones and, where a run has them, the averaged ones beside them, as they are
evaluated. The run's record holds the file's SHA-256, which is checked before the file is used: what was cut,
edited or swapped is evaluated by nobody.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sweepkit import fsio
from sweepkit.errors import CheckpointError
from sweepkit.results.conditions import KeptWeights
from sweepkit.results.record import RunDir, RunRecord
from sweepkit.sweep.metric import EMA
from sweepkit.training import tensor_file
from sweepkit.training.engine import Engine

#: What losses of a set of weights are called before their own name → what its tensors are in the file.
_SETS = {"": "raw.", EMA: "averaged."}


def save(engine: Engine, run_dir: RunDir, writes: bool) -> KeptWeights | None:
    """Write the weights, whole or not at all; every rank must ask.

    Args:
        writes: whether this rank is the one that does.

    Returns:
        What the record keeps; None on other ranks.

    Raises:
        StorageError: the disk is full, or storage fails.
    """
    named = engine.model.state_dict()  # the bias of experts too, which is no parameter
    tensors = {f"{_SETS['']}{name}": tensor for name, tensor in named.items()}
    if engine.optimizer.averages_weights:
        with engine.optimizer.averaged():
            tensors |= {f"{_SETS[EMA]}{name}": tensor.to("cpu", copy=True) for name, tensor in named.items()}
    if not writes:
        return None
    path = run_dir.weights_path
    sha256 = fsio.write_by_name(path, lambda temporary: tensor_file.write(temporary, tensors))
    return KeptWeights(sha256, path.stat().st_size)


def load(run_dir: RunDir, record: RunRecord) -> dict[str, dict[str, Tensor]]:
    """What their losses are called before their own name → the weights by name, on the CPU.

    Raises:
        CheckpointError: they were dropped, or are not what was written.
    """
    try:
        if record.weights is None or fsio.sha256(run_dir.weights_path) != record.weights.sha256:
            raise _bad(run_dir, "is damaged (its content does not match its SHA-256)")
        tensors = tensor_file.load(run_dir.weights_path)
    except FileNotFoundError as error:
        raise _bad(run_dir, "is not there") from error
    except tensor_file.SafetensorError as error:
        raise _bad(run_dir, f"cannot be read ({error})") from error
    found = {
        ema: {name.removeprefix(start): item for name, item in tensors.items() if name.startswith(start)}
        for ema, start in _SETS.items()
    }
    return {ema: weights for ema, weights in found.items() if weights}


@torch.no_grad()
def put(weights: Mapping[str, Tensor], engine: Engine, run_dir: RunDir) -> None:
    """Give ``engine`` one set of what ``load`` gave, in place. Raises CheckpointError: of another model."""
    try:
        for name, tensor in engine.model.state_dict().items():
            tensor.copy_(weights[name])
    except (KeyError, RuntimeError) as error:
        raise _bad(run_dir, f"does not fit the model ({error})") from error


def _bad(run_dir: RunDir, what: str) -> CheckpointError:
    return CheckpointError(
        f"{run_dir.weights_path} {what}, but must be the weights that {run_dir.run_id} ended with; train it "
        "again with --rerun"
    )
