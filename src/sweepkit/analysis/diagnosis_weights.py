"""Checks of weights: what they begin as, whether they move, how far a step moves them, where they end."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator

from sweepkit.analysis.diagnosis_case import Case, Finding
from sweepkit.analysis.diagnosis_limits import LIMITS
from sweepkit.plan.part_weights import Constant, Init, Line, Normal, Uniform, Weight
from sweepkit.plan.roles import ADAMW, update_rule
from sweepkit.results.diagnosed import Diagnosed, ratio_log10

#: Later looks before something counts as still: what a schedule fades out rests at the end.
_LOOKS = 2
_BEGINS = {
    "zero_init_lost": "its zero initialisation was lost (model/init.py): blocks are no identity at the start",
    "initial_values": "initial values were drawn in another way than plan/parts.py says, or overwritten",
}


def initial(case: Case) -> Iterator[Finding]:
    """What step 1 found, against what the plan says that weights begin as."""
    if case.begins is None:
        return
    limit, moved_by = LIMITS["initial_values"].value, case.plan.config.model.init_moved_by
    for name, found in case.begins.parameters.items():
        weight = case.weights.get(name)
        if weight is None or found.weight is None:
            continue
        wanted = _rms(weight.init, weight.shape)
        error = 0.0 if _is_fixed(weight.init) else math.sqrt(0.5 / math.prod(weight.shape))
        if abs(found.weight - wanted) <= wanted * (limit * error + 0.02 + moved_by):
            continue
        said = f"{name} began at {found.weight:.3g} (root-mean-square), and is described as {wanted:.3g}"
        symptom = "initial_values" if wanted else "zero_init_lost"
        yield Finding(symptom, name, 1, found.weight, wanted, said, _BEGINS[symptom])


def _is_fixed(init: Init) -> bool:
    return isinstance(init, Constant | Line)


def _rms(init: Init, shape: tuple[int, ...]) -> float:
    """Root-mean-square of what is drawn so."""
    match init:
        case Normal(std):
            return std
        case Uniform(low, high):
            return math.sqrt((low * low + low * high + high * high) / 3)
        case Constant(value):
            return abs(value)
        case Line(first, last):
            steps = max(shape[0] - 1, 1)
            values = [first + (last - first) * place / steps for place in range(shape[0])]
            return math.sqrt(statistics.fmean(value * value for value in values))


def still(case: Case) -> Iterator[Finding]:
    """Parameters that do not move, although they should."""
    for role, rate in case.plan.learning_rates.items():
        rule = update_rule(role, case.plan.config.optimizer)
        rows = [row for row in case.later if (row.lr or 0) > 0 and row.step % rule.every == 0]
        is_ramped = rule.every > 1 and case.plan.config.schedule.batch_ramp != [1]
        members = case.members(role)
        if rate == 0 or len(rows) < _LOOKS or is_ramped or not members:
            continue
        silent = [name for name in members if all(row.parameters[name].grad == 0 for row in rows)]
        frozen = [name for name in members if all(row.parameters[name].update == 0 for row in rows)]
        if len(frozen) == len(members) > len(silent):
            silent = []  # what stands before zeros that are frozen gets no gradient
        else:
            frozen = [name for name in frozen if any(row.parameters[name].grad for row in rows)]
        for symptom, found in (("no_gradient", silent), ("frozen", frozen)):
            places = [f"group {role}"] if len(found) == len(members) else found
            for place in places:
                yield _is_still(symptom, place, rows, rate, rule.name == ADAMW.name)


def _is_still(symptom: str, place: str, rows: list[Diagnosed], rate: float, is_adamw: bool) -> Finding:
    seen = f"in {len(rows)} of {len(rows)} looks from step {rows[0].step} on"
    if symptom == "no_gradient":
        said = f"{place} gets no gradient, {seen}"
        cause = "nothing that leads to the loss uses it: a detached tensor, a branch that is off, a factor 0"
    else:
        said = f"{place} has gradients and does not move, {seen}, at a learning rate of {rate:.3g}"
        cause = "it is frozen: the optimizer does not hold it, or its steps are below its dtype's resolution"
        cause += "; or eps is far above its gradients" if is_adamw else ""
    return Finding(symptom, place, rows[0].step, 0.0, None, said, cause)


def rates(case: Case) -> Iterator[Finding]:
    """Learning rates, by what steps do to the weights."""
    line = LIMITS["update_data_log10"].value
    for role in ("matrix", "embedding", "resid"):
        limit = _highest(role, case)
        members = case.members(role).items()
        drawn = [name for name, weight in members if role == "resid" or _is_drawn(weight)]
        found = [
            (ratio, row.step, name)
            for row in case.rows
            for name in drawn
            if (ratio := ratio_log10(row.parameters[name].update, row.parameters[name].weight)) is not None
        ]
        if found and max(found)[0] > limit:
            top, step, name = max(found)
            above = f"{_times(top - line)} above −3"
            said = f"update:data of {role} is 10^{top:.1f} at step {step} ({name}), {above}"
            yield Finding(
                "update_too_large", f"group {role}", step, top, limit, said,
                f"its learning rate is too high ({case.rate(role)}), or its warm-up too short",
            )  # fmt: skip
    limit = LIMITS["update_low"].value
    for role in ("matrix", "embedding", "unembedding", "value_embedding"):
        ratios = [case.ratio(row, role, "update") for row in case.at_rate]
        known = [ratio for ratio in ratios if ratio is not None]
        if known and (middle := statistics.median(known)) < limit:
            said = f"update:data of {role} is 10^{middle:.1f} (median), {_times(line - middle)} below −3"
            cause = f"its learning rate is too low ({case.rate(role)}), or its eps above its gradients"
            yield Finding(
                "update_too_small", f"group {role}", case.at_rate[0].step, middle, limit, said, cause
            )


def _highest(role: str, case: Case) -> float:
    """Limit of a group's update:data, log10: of its update rule where that has one of its own."""
    name = f"update_high_{role}"
    own = f"{name}_{update_rule(role, case.plan.config.optimizer).name}"
    return LIMITS[own if own in LIMITS else name].value


def _times(decades: float) -> str:
    return f"{10**decades:,.0f}×"


def growth(case: Case) -> Iterator[Finding]:
    """Weights that run away."""
    for role in ("matrix", "embedding") if case.begins is not None else ():
        limit, first, last = LIMITS[f"growth_{role}"].value, case.rows[0], case.rows[-1]
        grown = {
            name: now / began
            for name, weight in case.members(role).items()
            if _is_drawn(weight)
            and (began := first.parameters[name].weight)
            and (now := last.parameters[name].weight)
        }
        if grown and (most := max(grown.values())) > limit:
            name = max(grown, key=lambda name: grown[name])
            said = f"{name} has grown to {most:.0f}× what it began as"
            cause = f"its learning rate is too high ({case.rate(role)}), or its weight decay too low"
            yield Finding("weights_run_away", name, last.step, most, limit, said, cause)


def sizes(case: Case) -> Iterator[Finding]:
    """Tables that have outgrown the embedding, and λ of it that have outgrown those of the stream."""
    if not case.rows:
        return
    last = case.rows[-1]
    size = {name: moved.weight for name, moved in last.parameters.items() if moved.weight}
    embedding = max((size.get(name, 0.0) for name in case.members("embedding")), default=0.0)
    for role, limit_name, beside in (
        ("value_embedding", "size_table", embedding),
        ("bigram", "size_table", embedding),
        ("x0", "size_x0", 1.0),
    ):
        names = [
            name for name, weight in case.members(role).items() if role == "x0" or weight.use == "lookup"
        ]
        found = [(size[name] / beside, name) for name in names if name in size and beside]
        if found and max(found)[0] > (limit := LIMITS[limit_name].value):
            most, name = max(found)
            said = f"{name} has grown to {most:.3g}× {'λ of the stream' if role == 'x0' else 'the embedding'}"
            cause = f"its learning rate is too high ({case.rate(role)})"
            yield Finding("weights_run_away", name, last.step, most, limit, said, cause)


def _is_drawn(weight: Weight) -> bool:
    """Whether it begins as large as it is to be: not at 0, nor small, as heads, gates, value tables do."""
    if weight.use == "lookup":
        return isinstance(weight.init, Normal) and weight.init.std > 0.1
    is_gate = min(weight.shape[-2:]) < 16
    return isinstance(weight.init, Uniform) and not is_gate and len(weight.shape) > 1
