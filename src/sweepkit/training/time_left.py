"""How long a run will still take: its steps, and the evaluations between them and at the end."""

from __future__ import annotations

from dataclasses import dataclass

#: Of a step's time; a backward pass costs twice its forward pass.
_FORWARD_SHARE = 1 / 3


@dataclass
class TimeLeft:
    """Of one run.

    Attributes:
        step_rows: rows that a training step reads.
        every_steps: between evaluations; 0 for at the end alone.
        eval_rows, last_rows: rows of an evaluation between steps, and of the one at the end.
        row_s: seconds that evaluating a row took last; None before the first, when a forward pass is taken
            for a third of a step.
    """

    num_steps: int
    step_rows: int
    every_steps: int
    eval_rows: int
    last_rows: int
    row_s: float | None = None

    def evaluated(self, seconds: float, at_end: bool) -> None:
        """Learn from an evaluation that has taken so long."""
        self.row_s = seconds / max(1, self.last_rows if at_end else self.eval_rows)

    def seconds(self, step: int, step_s: float, is_evaluated: bool = True) -> float:
        """From the end of ``step`` on, if a step takes ``step_s``.

        Args:
            is_evaluated: whether an evaluation that is due at this step is behind it.
        """
        row_s = step_s * _FORWARD_SHARE / self.step_rows if self.row_s is None else self.row_s
        between = 0
        if self.every_steps:
            done = step // self.every_steps if is_evaluated else max(0, step - 1) // self.every_steps
            between = max(0, (self.num_steps - 1) // self.every_steps - done)
        is_ended = step == self.num_steps and is_evaluated
        rows = between * self.eval_rows + (0 if is_ended else self.last_rows)
        return (self.num_steps - step) * step_s + rows * row_s
