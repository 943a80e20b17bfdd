"""Constraints of one's own on the points of a search: ``optimizer.x0.lr <= 10 * optimizer.matrix.lr``.

A constraint is a comparison, or several with ``and``, ``or``, ``not``. It names fields of a run and what the
plan makes of them (``total_params <= 2e8``), and is then known before anything runs: a point that breaks it
is no trial. Or it names what runs measure (``train_time_s <= 600``): a trial that breaks it is infeasible.

It is read as an expression of Python's grammar and worked out here; nothing of it is executed.
"""

from __future__ import annotations

import ast
import dataclasses
import itertools
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sweepkit import errors
from sweepkit.config import facts
from sweepkit.config.schema import RunConfig
from sweepkit.plan.run_plan import RunPlan
from sweepkit.sweep import metric

_NUMBERS = ("int", "float", "float | None")
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {"min": min, "max": max, "abs": abs}
#: How it begins what is said of a point that breaks one.
BROKEN = "it breaks the constraint"
#: By how much a comparison that is no matter of degree is broken.
_WHOLLY = 1.0


@dataclass(frozen=True)
class Constraint:
    """One constraint.

    Attributes:
        text: as it is written.
        tree: what it says.
        is_measured: it is known only of runs that have ended.
    """

    text: str
    tree: ast.expr
    is_measured: bool

    @property
    def names(self) -> list[str]:
        """What it compares, each once."""
        return _check(self.tree, self.text, is_condition=True)

    def excess(self, value_of: Callable[[str], Any]) -> float | None:
        """By how much it is broken, above 0; at most 0 where it holds; None where a value is missing, or
        what was measured is divided by 0.

        Raises:
            ConfigError: values cannot be compared or calculated with.
        """
        try:
            return _excess(self.tree, value_of)
        except LookupError:
            return None
        except ArithmeticError as error:
            if self.is_measured:  # what was measured may be 0
                return None
            raise _wrong(self.text, f"be worked out ({error})") from error
        except (TypeError, ValueError) as error:
            raise _wrong(self.text, f"compare and calculate with numbers ({error})") from error


def parse(text: str) -> Constraint:
    """A constraint as it is written in a sweep file.

    Raises:
        ConfigError: it is no comparison, or names something that no run has.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise _wrong(text, "be a comparison") from None
    names = _check(tree, text, is_condition=True)
    fields = {**facts.fields_of(RunConfig), **{item.name: item for item in _plan_facts()}}
    measured = [name for name in names if name not in fields and metric.known(name)]
    for name in names:
        if name not in fields and name not in measured:
            raise errors.invalid(
                "search.constraints",
                text,
                f"name fields of a run or what it measures ({name} is neither)",
                errors.did_you_mean(name, [*fields, *metric.names()]),
            )
    if not names:
        raise _wrong(text, "name a field")
    if measured and len(measured) < len(names):
        other = next(name for name in names if name not in measured)
        raise _wrong(text, f"name either fields or what is measured ({measured[0]}), and not {other} too")
    return Constraint(text, tree, bool(measured))


def before_a_run(found: Constraint, config: Mapping[str, Any], plan: RunPlan) -> str | None:
    """Why a point breaks a constraint; None where it holds.

    Args:
        config: of the point, flat.
    """

    def value_of(name: str) -> Any:
        return config[name] if name in config else getattr(plan, name)

    excess = found.excess(value_of)
    return f"{BROKEN} {found.text}" if excess is not None and excess > 0 else None


def _plan_facts() -> list[dataclasses.Field[Any]]:
    return [item for item in dataclasses.fields(RunPlan) if item.type in _NUMBERS]


def _check(node: ast.expr, text: str, is_condition: bool) -> list[str]:
    """The names in an expression, each once. Raises ConfigError where it is not one of ours."""
    inside: list[ast.expr] = []
    of_conditions = False
    if is_condition:
        of_conditions = isinstance(node, ast.BoolOp | ast.UnaryOp)
        if isinstance(node, ast.BoolOp):
            inside = node.values
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            inside = [node.operand]
        elif isinstance(node, ast.Compare) and all(type(item) in _DEGREES for item in node.ops):
            inside = [node.left, *node.comparators]
        else:
            raise _wrong(text, "be a comparison")
    elif (name := _name(node)) is not None:
        return [name]
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        inside = [node.left, node.right]
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inside = [node.operand]
    elif _is_call(node):
        inside = node.args  # type: ignore[attr-defined]
    elif not (isinstance(node, ast.Constant) and isinstance(node.value, str | int | float)):
        raise _wrong(text, f"hold names, numbers, text and + - * / ** min max abs (not {ast.unparse(node)})")
    return list(dict.fromkeys(name for item in inside for name in _check(item, text, of_conditions)))


def _is_call(node: ast.expr) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in _FUNCTIONS
        and bool(node.args)
        and not node.keywords
    )


def _name(node: ast.expr) -> str | None:
    """``optimizer.matrix.lr`` of such a node."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join(reversed([*parts, node.id])) if isinstance(node, ast.Name) else None


def _excess(node: ast.expr, value_of: Callable[[str], Any]) -> float:
    if isinstance(node, ast.BoolOp):
        found = [_excess(item, value_of) for item in node.values]
        return max(found) if isinstance(node.op, ast.And) else min(found)
    if isinstance(node, ast.UnaryOp):
        inner = _excess(node.operand, value_of)
        return _WHOLLY if inner <= 0 else -inner
    assert isinstance(node, ast.Compare)
    sides = [_value(item, value_of) for item in (node.left, *node.comparators)]
    pairs = zip(node.ops, itertools.pairwise(sides), strict=True)
    return max(_DEGREES[type(op)](left, right) for op, (left, right) in pairs)


def _value(node: ast.expr, value_of: Callable[[str], Any]) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if (name := _name(node)) is not None:
        value = value_of(name)
        if value is None:
            raise LookupError(name)
        return value
    if isinstance(node, ast.UnaryOp):
        return -_number(_value(node.operand, value_of))
    if isinstance(node, ast.BinOp):
        sides = [_number(_value(item, value_of)) for item in (node.left, node.right)]
        return _ARITHMETIC[type(node.op)](*sides)
    assert isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    return _FUNCTIONS[node.func.id](*(_number(_value(item, value_of)) for item in node.args))


def _number(value: Any) -> float:
    """Floats, so that no power of whole numbers grows beyond bounds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is none")
    return float(value)


def _over(left: Any, right: Any) -> float:
    return _number(left) - _number(right)


def _strictly_over(left: Any, right: Any) -> float:
    """A tie breaks it, by the least there is."""
    difference = _over(left, right)
    return difference if difference != 0 else math.ulp(0.0)


def _unequal(left: Any, right: Any) -> float:
    return -_WHOLLY if left == right else _WHOLLY


#: Comparison → by how much it is broken.
_DEGREES: Mapping[type[ast.cmpop], Callable[[Any, Any], float]] = {
    ast.LtE: _over,
    ast.Lt: _strictly_over,
    ast.GtE: lambda left, right: _over(right, left),
    ast.Gt: lambda left, right: _strictly_over(right, left),
    ast.Eq: _unequal,
    ast.NotEq: lambda left, right: -_unequal(left, right),
}


def _wrong(text: str, contract: str) -> errors.ConfigError:
    remedy = "write optimizer.x0.lr <= 10 * optimizer.matrix.lr, or train_time_s <= 600"
    return errors.invalid("search.constraints", text, contract, remedy)
