"""The weights that a complete run ends with: ``weights.safetensors`` in its folder.

Parameters by name under ``raw.``; weights averaged over steps would stand beside them under a name of their
own. The run's record holds the file's SHA-256, which is checked before the file is used: what was cut, edited
or swapped is evaluated by nobody.
"""

from __future__ import annotations

from typing import Any

import torch

from sweepkit import fsio
from sweepkit.errors import CheckpointError
from sweepkit.results.record import RunDir, RunRecord
from sweepkit.training import tensor_file
from sweepkit.training.engine import Engine

_RAW = "raw."


def save(engine: Engine, run_dir: RunDir) -> dict[str, Any]:
    """Write the parameters, whole or not at all; for the leader of several ranks, which hold the same.

    Returns:
        What the record keeps: ``sha256`` and ``num_bytes`` of the file.

    Raises:
        StorageError: the disk is full, or storage fails.
    """
    tensors = {f"{_RAW}{name}": p.detach() for name, p in engine.model.named_parameters()}
    path = run_dir.weights_path
    sha256 = fsio.write_by_name(path, lambda temporary: tensor_file.write(temporary, tensors))
    return {"sha256": sha256, "num_bytes": path.stat().st_size}


@torch.no_grad()
def load(engine: Engine, run_dir: RunDir, record: RunRecord) -> None:
    """Give ``engine`` the weights that a run ended with, in place.

    Raises:
        CheckpointError: they were dropped, are not what was written, or are of another model.
    """

    def bad(what: str) -> CheckpointError:
        return CheckpointError(
            f"{run_dir.weights_path} {what}, but must be the weights that {run_dir.run_id} ended with; train "
            "it again with --rerun"
        )

    try:
        if tensor_file.sha256(run_dir.weights_path) != record.weights.get("sha256"):
            raise bad("is damaged (its content does not match its SHA-256)")
        tensors = tensor_file.load(run_dir.weights_path)
        for name, parameter in engine.model.named_parameters():
            parameter.copy_(tensors[f"{_RAW}{name}"])
    except FileNotFoundError as error:
        raise bad("is not there") from error
    except (KeyError, RuntimeError, tensor_file.SafetensorError) as error:
        raise bad(f"does not fit the model ({error})") from error
