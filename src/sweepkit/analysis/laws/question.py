"""What a fit is asked, in columns of a table, and which of the answers it wants.

What is said and would not be read is refused, so that nobody takes an answer for one to another question.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from sweepkit import errors
from sweepkit.analysis.laws import compute_optimal, size_forecast, surface
from sweepkit.analysis.laws.intervals import CONFIDENCE
from sweepkit.analysis.laws.parabolas import Curvature
from sweepkit.config import typed

Kind = Literal["optima", "ridges", "known optima", "sizes", "forecast", "batches"]
#: Fields of a question that hold several.
LISTS = ("params", "targets", "points", "dropped", "base")


@dataclass(frozen=True)
class Question:
    """What a fit is asked, in columns of the table.

    Attributes:
        loss: lower is better, or higher where ``is_higher_better``; only optima can be asked for then.
        axis, second_axis: fields whose best value is sought.
        by: one optimum for each value of it; ``scale`` (by default the same) is what laws are stated in.
        seed: blocks.
        optimum: a column of optima that somebody found, and its scale; no losses are read then.
        params, tokens, flops: of each run, for sizes; several columns of parameters are ways of counting.
        trunk: what several rows were warmed down from, each on its own.
        batch, targets: for critical batches.
        rule: the exponent that a law is held against; None: the schema's, where there is one.
        base: overrides of the sweep whose schema that is.
        num_sizes, points: for forecasts: how many of the smallest sizes are fitted; (parameters, tokens) of
            more points.
        dropped: rows of the table to leave out, counted from 0; their influence is shown.
    """

    loss: str = "val_bpb"
    is_higher_better: bool = False
    axis: str | None = None
    second_axis: str | None = None
    axis_scale: Literal["log", "one_minus", "linear"] = "log"
    by: str | None = None
    scale: str | None = None
    seed: str | None = None
    curvature: Curvature = "auto"
    tolerance: float | None = None
    optimum: str | None = None
    params: tuple[str, ...] = ()
    tokens: str | None = None
    flops: str | None = None
    trunk: str | None = None
    batch: str | None = None
    targets: tuple[float, ...] = ()
    rule: float | None = None
    base: tuple[str, ...] = ()
    is_forecast: bool = False
    num_sizes: int = size_forecast.NUM_SIZES
    points: tuple[tuple[float, float | None], ...] = ()
    dropped: tuple[int, ...] = ()
    huber_delta: float = surface.HUBER_DELTA
    replicates: int = compute_optimal.REPLICATES
    confidence: float = CONFIDENCE
    random_seed: int = 0

    @property
    def kind(self) -> Kind:
        """Which estimator answers.

        Raises:
            ConfigError: nothing is asked for, or two things at once.
        """
        asked = {
            "--axis": self.axis, "--params": self.params, "--batch": self.batch, "--optimum": self.optimum
        }  # fmt: skip
        named = [option for option, value in asked.items() if value]
        if not named:
            remedy = "--axis FIELD, --params COLUMN, --batch COLUMN or --optimum COLUMN say what"
            raise errors.invalid("what to fit", None, "be an axis, sizes, batches or known optima", remedy)
        if len(named) > 1:
            contract, remedy = "be one of an axis, sizes, batches and known optima", "fit one after the other"
            raise errors.invalid("what to fit", " ".join(named), contract, remedy)
        if self.params:
            return "forecast" if self.is_forecast else "sizes"
        if self.axis:
            return "ridges" if self.second_axis else "optima"
        return "batches" if self.batch else "known optima"

    @property
    def places(self) -> dict[str, str]:
        """Columns that say where a run stands, with the options that name them."""
        found = [(name, OPTIONS[item]) for item in _PLACES if (name := getattr(self, item))]
        return dict([*found, *((name, OPTIONS["params"]) for name in self.params)])

    def checked(self, given: Iterable[str] = ()) -> Kind:
        """``kind``, after everything that can be wrong without the table.

        Args:
            given: fields that were said, though they may say what holds anyway.

        Raises:
            ConfigError: a number that no fit can be asked with, or a field that this kind does not read.
        """
        kind = self.kind
        differ = {item.name for item in dataclasses.fields(self) if getattr(self, item.name) != item.default}
        if unread := [name for name in OPTIONS if name in differ | set(given) and name not in _READ[kind]]:
            others = [OPTIONS[name] for name in OPTIONS if name in _READ[kind] and name not in _ALWAYS]
            contract = f"go with what reads it ({kind}: {', '.join(others)})"
            raise errors.invalid(
                OPTIONS[unread[0]], _said(self, unread[0]), contract, _REMEDY.get(unread[0], "leave it out")
            )
        if kind == "optima" and (self.by or self.scale) is None:
            for name in ("rule", "curvature"):
                if name in differ | set(given):
                    contract = "go with groups, for it is about several optima"
                    raise errors.invalid(OPTIONS[name], _said(self, name), contract, "add --by COLUMN")
        self._check_columns()
        if kind == "forecast":
            self._check_forecast()
        self._check_numbers()
        return kind

    def _check_columns(self) -> None:
        """Refuse one column as two things: what is fitted would be the column by itself."""
        named = [(OPTIONS[name], getattr(self, name)) for name in _COLUMNS if getattr(self, name)]
        named += [(OPTIONS["params"], name) for name in self.params]
        named += [] if self.optimum else [(OPTIONS["loss"], self.loss)]
        for place, (option, name) in enumerate(named):
            for other, same in named[place + 1 :]:
                if name == same:
                    raise errors.invalid(option, name, f"be another column than {other}", "name its own")

    def _check_forecast(self) -> None:
        if len(self.params) > 1:
            remedy = "forecast by one way of counting after the other"
            raise errors.invalid("--params", ",".join(self.params), "be one column with --forecast", remedy)
        if self.tokens is not None and self.flops is not None:
            raise errors.invalid("--flops", self.flops, "be left out beside --tokens", "name one of them")
        for size, tokens in self.points:
            if not (0 < size < math.inf and (tokens is None or 0 < tokens < math.inf)):
                at = f"{size:g}" if tokens is None else f"{size:g},{tokens:g}"
                raise errors.invalid("--at", at, "be parameters and tokens above 0", "write --at 3e9,6e10")
            if tokens is not None and self.tokens is None and self.flops is None:
                remedy = "add --tokens COLUMN, or write parameters alone"
                raise errors.invalid(
                    "--at", f"{size:g},{tokens:g}", "name tokens only where the table does", remedy
                )

    def _check_numbers(self) -> None:
        """Refuse numbers that no fit can be asked with."""
        above_0 = {
            "--tolerance": self.tolerance,
            "--huber-delta": self.huber_delta,
            "--replicates": self.replicates,
            "--sizes": self.num_sizes,
        }
        for option, value in above_0.items():
            if value is not None and not 0 < value < math.inf:
                raise errors.invalid(option, value, "be above 0", "leave it out for the default")
        for option, values in (("--rule", (self.rule,)), ("--target", self.targets)):
            for value in values:
                if value is not None and not math.isfinite(value):
                    raise errors.invalid(option, value, "be a finite number", "write it as 0.383")
        if self.random_seed < 0:
            raise errors.invalid("random_seed", self.random_seed, "be 0 or more", "leave it out")
        if not 0 < self.confidence < 1:
            raise errors.invalid("--confidence", self.confidence, "lie between 0 and 1", "write 0.95")


def of(asked: Mapping[str, Any]) -> Question:
    """The question that Python asks by fields: one value stands for a list of one, numpy's for plain ones.

    Raises:
        ConfigError: no such field, or a value of another type.
    """
    plain = {key: _plain(value) for key, value in asked.items()}
    plain |= {key: [value] for key in LISTS if not isinstance(value := plain.get(key, []), list)}
    pairs = [item if isinstance(item, list) else [item, None] for item in plain.pop("points", [])]
    try:
        points = tuple((float(size), None if tokens is None else float(tokens)) for size, tokens in pairs)
    except (TypeError, ValueError):
        remedy = "write points=[(3e9, 6e10)]"
        raise errors.invalid("points", pairs, "be pairs of parameters and tokens", remedy) from None
    return dataclasses.replace(typed.load(Question, plain), points=points)


def _plain(value: Any) -> Any:
    """As JSON would have it."""
    value = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    is_list = isinstance(value, Iterable) and not isinstance(value, str | Mapping)
    return [_plain(item) for item in value] if is_list else value


#: Fields by the options that the command line calls them.
OPTIONS = {
    "loss": "--loss",
    "is_higher_better": "--higher-is-better",
    "dropped": "--drop",
    "seed": "--seed-column",
    "axis": "--axis",
    "second_axis": "--axis2",
    "axis_scale": "--axis-scale",
    "by": "--by",
    "scale": "--scale",
    "optimum": "--optimum",
    "rule": "--rule",
    "curvature": "--curvature",
    "tolerance": "--tolerance",
    "params": "--params",
    "tokens": "--tokens",
    "flops": "--flops",
    "trunk": "--trunk",
    "replicates": "--replicates",
    "huber_delta": "--huber-delta",
    "batch": "--batch",
    "targets": "--target",
    "is_forecast": "--forecast",
    "num_sizes": "--sizes",
    "points": "--at",
    "confidence": "--confidence",
    "random_seed": "random_seed",
}
#: Fields that name one column each; ``by`` and ``scale`` may be one.
_COLUMNS = ("axis", "second_axis", "by", "optimum", "tokens", "flops", "batch", "seed")
_PLACES = ("axis", "second_axis", "by", "scale", "optimum", "tokens", "flops", "trunk", "batch")
_ALWAYS = {"dropped", "confidence"}
_OF_OPTIMA = {"loss", "is_higher_better", "axis", "by", "seed", *_ALWAYS}
_OF_SIZES = {"loss", "params", "tokens", "flops", "random_seed", *_ALWAYS}
_READ: dict[Kind, set[str]] = {
    "optima": {*_OF_OPTIMA, "axis_scale", "scale", "curvature", "tolerance", "rule"},
    "ridges": {*_OF_OPTIMA, "second_axis"},
    "known optima": {"optimum", "by", "scale", "rule", *_ALWAYS},
    "sizes": {*_OF_SIZES, "trunk", "huber_delta", "replicates"},
    "forecast": {*_OF_SIZES, "is_forecast", "num_sizes", "points"},
    "batches": {"loss", "batch", "tokens", "by", "targets", "rule", *_ALWAYS},
}
_REMEDY = {
    "points": "add --forecast",
    "num_sizes": "add --forecast",
    "is_forecast": "add --params COLUMN",
    "second_axis": "add --axis COLUMN",
    "is_higher_better": "fit optima (--axis); the laws of sizes and batches are of losses",
}


def _said(question: Question, name: str) -> object:
    value = getattr(question, name)
    return list(value) if isinstance(value, tuple) else value
