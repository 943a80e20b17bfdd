"""Says once, early in a run, that the GPU is not busy, with the likely causes as measured numbers."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from sweepkit.training.throughput import Utilisation

#: A GPU that does less than this for a model of this kind is waiting for something.
LOW = 0.4
DEVICES = ("cuda",)
NUM_SKIPPED, NUM_MEASURED = 10, 20  # steps of this attempt
_ROOM, _WAITING, _COMMUNICATION = 0.6, 0.02, 0.1  # shares from which on a cause is likely


@dataclass(frozen=True)
class Causes:
    """What was measured beside the speed.

    Attributes:
        memory_share: peak of allocated memory, of the device's.
        waiting_share: time in which no batch was there, of the steps' time.
        communication_share: time in which this rank waited for others, of the steps' time; None for a process
            alone.
        compiled: whether the model is.
        rows: ``horizon.device_batch_size``.
    """

    memory_share: float
    waiting_share: float
    communication_share: float | None
    compiled: bool
    rows: int

    def in_words(self) -> str:
        """All that is likely; else what was looked at."""
        found = []
        if not self.compiled:
            found.append("the model is not compiled")
        if self.memory_share < _ROOM:
            found.append(
                f"{self.rows} rows at once use {self.memory_share:.0%} of the GPU's memory: raise "
                "horizon.device_batch_size"
            )
        if self.waiting_share > _WAITING:
            found.append(f"{self.waiting_share:.0%} of the time no batch was ready: data is read too slowly")
        if self.communication_share is not None and self.communication_share > _COMMUNICATION:
            found.append(f"{self.communication_share:.0%} of the time goes into waiting for other ranks")
        if found:
            return "; ".join(found)
        shown = f"memory {self.memory_share:.0%} used, {self.waiting_share:.1%} of the time waiting for data"
        if self.communication_share is not None:
            shown += f", {self.communication_share:.0%} for other ranks"
        return f"none of the usual causes ({shown}); sweepkit doctor times d12 here"


class MfuWatch:
    """Adds up a few steps and then speaks, at most once."""

    def __init__(
        self, utilisation: Utilisation, tokens_a_step: int, device: torch.device, compiled: bool, rows: int
    ) -> None:
        self._utilisation, self._tokens = utilisation, tokens_a_step
        self._device, self._compiled, self._rows = device, compiled, rows
        self._num_steps = 0
        self._step_s = self._waiting_s = self._communication_s = 0.0
        self._alone = True

    def after_step(self, step_s: float, waiting_s: float, communication_s: float | None = None) -> str | None:
        """Count one step; what there is to say, if anything.

        Args:
            step_s: the whole step.
            waiting_s: of it, for data.
            communication_s: of it, for other ranks; None for a process alone.
        """
        self._num_steps += 1
        if (
            self._device.type not in DEVICES
            or not NUM_SKIPPED < self._num_steps <= NUM_SKIPPED + NUM_MEASURED
        ):
            return None
        self._step_s += step_s
        self._waiting_s += waiting_s
        if communication_s is not None:
            self._alone = False
            self._communication_s += communication_s
        if self._num_steps < NUM_SKIPPED + NUM_MEASURED:
            return None
        tokens_per_s = NUM_MEASURED * self._tokens / self._step_s
        mfu = self._utilisation.mfu(tokens_per_s)["mfu"]
        if mfu is None or mfu >= LOW:
            return None
        causes = Causes(
            memory_share=_memory_share(self._device),
            waiting_share=self._waiting_s / self._step_s,
            communication_share=None if self._alone else self._communication_s / self._step_s,
            compiled=self._compiled,
            rows=self._rows,
        )
        return f"{self._utilisation.shown(tokens_per_s)}, below {LOW:.0%}: {causes.in_words()}"


def _memory_share(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated(device) / torch.cuda.get_device_properties(device).total_memory
