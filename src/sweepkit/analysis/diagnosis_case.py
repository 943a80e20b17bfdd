"""One run as a diagnosis sees it, and what a check may find: shared by all checks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from sweepkit.config.schema import RunConfig
from sweepkit.plan import part_weights, parts
from sweepkit.plan.part_weights import Weight
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results import diagnosed
from sweepkit.results.columns import Row
from sweepkit.results.diagnosed import Diagnosed, ratio_log10
from sweepkit.results.record import RunDir, RunRecord

#: Rows with at least this share of the largest learning rate, where a rate is judged.
_AT_RATE = 0.5
#: Times the default from which on a learning rate is worth a word.
_FAR = 5


@dataclass(frozen=True)
class Finding:
    """One thing that looks wrong.

    Attributes:
        symptom: its name, the same wherever it is found.
        where: layer, parameter or group; empty for the whole model.
        step: at which it was seen, the first time.
        value, limit: the number and what it was held against; None where it is no number.
        said: both in words.
        cause: what usually causes it, and what to try.
    """

    symptom: str
    where: str
    step: int | None
    value: float | None
    limit: float | None
    said: str
    cause: str


@dataclass(frozen=True)
class Case:
    """All that a run wrote of itself."""

    plan: RunPlan
    record: RunRecord | None
    rows: list[Diagnosed]
    curve: list[Row]

    @classmethod
    def of(cls, run_dir: RunDir, plan: RunPlan) -> Case:
        return cls(plan, run_dir.read_record(), diagnosed.read(run_dir), run_dir.metrics())

    @cached_property
    def weights(self) -> dict[str, Weight]:
        """Every parameter as the plan describes it, by its name."""
        return part_weights.by_parameter(parts.describe(self.plan.config))

    @cached_property
    def later(self) -> list[Diagnosed]:
        """Rows after the first step, in which what begins at 0 has no gradient behind it yet."""
        return [row for row in self.rows if row.step > 1]

    @cached_property
    def begins(self) -> Diagnosed | None:
        """The row that has weights as they were drawn: of step 1, where its batch made one update."""
        ramp = self.plan.config.schedule.batch_ramp
        return self.rows[0] if self.rows and self.rows[0].step == 1 and ramp[0] == 1 else None

    @cached_property
    def at_rate(self) -> list[Diagnosed]:
        """Later rows whose learning rate is not far below the largest."""
        top = max((row.lr or 0.0 for row in self.rows), default=0.0)
        return [row for row in self.later if top and (row.lr or 0.0) >= _AT_RATE * top]

    def members(self, role: str) -> dict[str, Weight]:
        """Parameters of a group that rows speak of."""
        known = self.rows[0].parameters if self.rows else {}
        return {name: it for name, it in self.weights.items() if it.role == role and name in known}

    def rate(self, role: str) -> str:
        """A group's learning rate, as one would set it; and beside the default, if it is far from that."""
        times = self._times_default(role)
        far = f", {times:.3g}× the default" if times is not None and not 1 / _FAR <= times <= _FAR else ""
        return f"optimizer.{role}.lr={getattr(self.plan.config.optimizer, role).lr:g}{far}"

    def far_rates(self) -> list[str]:
        """Learning rates far above the default, and one that has none to be held against."""
        times = {role: self._times_default(role) for role in self.plan.learning_rates}
        return [self.rate(role) for role, it in times.items() if it is None or it > _FAR]

    def _times_default(self, role: str) -> float | None:
        """A learning rate over its default; None of matrices under another rule, whose rates are others."""
        own, usual = self.plan.config.optimizer, RunConfig().optimizer
        if role == "matrix" and own.matrix.kind is not usual.matrix.kind:
            return None
        return float(getattr(own, role).lr / getattr(usual, role).lr)

    def ratio(self, row: Diagnosed, role: str, what: str) -> float | None:
        """A ratio to the weights of a group, log10; ``what``: grad or update."""
        sizes = {name: math.prod(weight.shape) for name, weight in self.members(role).items()}
        over = diagnosed.together((getattr(row.parameters[name], what), n) for name, n in sizes.items())
        under = diagnosed.together((row.parameters[name].weight, n) for name, n in sizes.items())
        return ratio_log10(over, under)

    def decay_masked(self, row: Diagnosed) -> float | None:
        """Share of the matrices' elements that cautious weight decay left alone."""
        sizes = {name: math.prod(weight.shape) for name, weight in self.members("matrix").items()}
        found = [(row.parameters[name].decay_masked, size) for name, size in sizes.items()]
        known = [(share, size) for share, size in found if share is not None]
        return sum(share * size for share, size in known) / sum(size for _, size in known) if known else None
