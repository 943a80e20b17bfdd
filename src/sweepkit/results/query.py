"""Filters and sort orders a user types: ``val_bpb < 0.9 and (rung == d2 or state != complete)``.

A small language of its own rather than ``DataFrame.query``, which evaluates Python. Grammar::

    filter     = all ("or" all)*
    all        = term ("and" term)*
    term       = "not" term | "(" filter ")" | COLUMN comparison
    comparison = ("==" | "=" | "!=" | "<" | "<=" | ">" | ">=") VALUE
               | ["not"] "in" "[" VALUE ("," VALUE)* "]"
               | "is" ["not"] "missing"

A value is a number, a quoted string or a bare word; it is read as the column's dtype asks. Levels of a
field of numbers are numbers; where others are compared with one, those that read as numbers do. As in SQL,
a missing number satisfies no comparison; ask for it with ``is missing``, or for a level with ``== null``.
Equality with what a column cannot be is refused: a state that does not exist, a variant, rung or level that
the table has no run of.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any

import pandas as pd

from sweepkit.config import facts
from sweepkit.errors import SweepkitError, did_you_mean, invalid
from sweepkit.results.columns import (
    CORRUPT,
    DELETED,
    INFEASIBLE,
    LEVEL,
    LOST,
    PLANNED,
    Direction,
    find,
)
from sweepkit.results.record import FailureClass, RunState

_TOKEN = re.compile(
    r"""\s*(?:(?P<op><=|>=|==|!=|<>|=|<|>)
            |(?P<mark>[()\[\],])
            |(?P<quoted>'[^']*'|"[^"]*")
            |(?P<word>[^\s()\[\],<>=!'"]+))""",
    re.VERBOSE,
)
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "=": operator.eq, "!=": operator.ne, "<>": operator.ne,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
#: Columns of a few words, all of which are known.
_WORDS = {
    "state": [*(state.value for state in RunState), PLANNED, DELETED, LOST, CORRUPT, INFEASIBLE],
    "failure_class": [item.value for item in FailureClass],
}
_EQUALITY = frozenset({"==", "=", "!=", "<>"})
_NULL = "null"
_SHOWN = 20
_EXAMPLE = "write it like: val_bpb < 0.9 and rung == d2"


def keep(frame: pd.DataFrame, expression: str, option: str = "--filter") -> pd.DataFrame:
    """The rows of ``frame`` that satisfy ``expression``, which was given as ``option``.

    Raises:
        SweepkitError: unknown column, value of the wrong type, or a filter that does not parse.
    """
    mask = _Parser(frame, expression, option).parse()
    return frame[mask.astype("boolean").fillna(False).astype(bool)]


def order_by(frame: pd.DataFrame, keys: str) -> pd.DataFrame:
    """``frame`` sorted by comma-separated columns; ``-column`` is descending; missing values come last.

    So do infeasible runs, where a column has a better end: they rank with nothing.

    Raises:
        SweepkitError: unknown column.
    """
    names = _names(keys)
    if "state" in frame and any(_is_better_or_worse(name.removeprefix("-")) for name in names):
        is_out = (frame["state"] == INFEASIBLE).fillna(False).astype(bool)
        if is_out.any():
            return pd.concat([_ordered(frame[~is_out], names), _ordered(frame[is_out], names)])
    return _ordered(frame, names)


def _is_better_or_worse(name: str) -> bool:
    column = find(name)
    return column is not None and column.direction is not Direction.none


def _ordered(frame: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    columns = [check_column(frame, name.removeprefix("-"), "--sort") for name in names]
    if not columns:
        return frame
    ascending = [not name.startswith("-") for name in names]
    return frame.sort_values(columns, ascending=ascending, na_position="last", kind="stable")


def select(frame: pd.DataFrame, keys: str) -> pd.DataFrame:
    """Only the comma-separated columns, in that order.

    Raises:
        SweepkitError: unknown column.
    """
    return frame[[check_column(frame, name, "--select") for name in _names(keys)]]


def _names(keys: str) -> list[str]:
    """Of columns; where there is none, what was given, which is no column: an unset variable, say."""
    return [key.strip() for key in keys.split(",") if key.strip()] or [keys]


def check_column(frame: pd.DataFrame, name: str, field: str) -> str:
    """``name`` if it is a column of ``frame``, or the column of the axis that is called so, or ends so.

    Raises:
        SweepkitError: there is none, or there are several; offers the nearest one.
    """
    known = [str(column) for column in frame.columns]
    if name in known or f"{LEVEL}{name}" in known:
        return name if name in known else f"{LEVEL}{name}"
    ending = [column for column in known if column.startswith(LEVEL) and column.endswith(f".{name}")]
    if len(ending) != 1:
        offered = f"write one of {', '.join(ending)}" if ending else did_you_mean(name, known)
        raise invalid(field, name, "name a column of the table", offered)
    return ending[0]


class _Parser:
    """Recursive descent over the tokens of one expression; each method returns a boolean mask."""

    def __init__(self, frame: pd.DataFrame, expression: str, option: str) -> None:
        self.frame = frame
        self.expression = expression
        self.option = option
        self.tokens = self._tokens(expression)
        self.place = 0

    def parse(self) -> pd.Series[Any]:
        mask = self._any()
        if self.place < len(self.tokens):
            raise self._error(f"{self._peek()!r} was not expected")
        return mask

    def _tokens(self, expression: str) -> list[tuple[str, str]]:
        tokens, place, text = [], 0, expression.rstrip()
        while place < len(text):
            match = _TOKEN.match(text, place)
            if match is None or match.lastgroup is None:
                raise self._error(f"{text[place:].strip()!r} cannot be read")
            tokens.append((match.lastgroup, match[match.lastgroup]))
            place = match.end()
        return tokens

    def _any(self) -> pd.Series[Any]:
        mask = self._all()
        while self._accept("or"):
            mask = mask | self._all()
        return mask

    def _all(self) -> pd.Series[Any]:
        mask = self._term()
        while self._accept("and"):
            mask = mask & self._term()
        return mask

    def _term(self) -> pd.Series[Any]:
        if self._accept("not"):
            return ~self._term()
        if self._accept("("):
            mask = self._any()
            self._expect(")")
            return mask
        return self._comparison()

    def _comparison(self) -> pd.Series[Any]:
        column = self.frame[check_column(self.frame, self._next("a column"), self.option)]
        if self._accept("is"):
            wanted = not self._accept("not")
            self._expect("missing")
            return (column.isna() == wanted).astype("boolean")
        negated = self._accept("not")
        if negated or self._peek().lower() == "in":
            self._expect("in")
            self._expect("[")
            values = [self._value(column)]
            while self._accept(","):
                values.append(self._value(column))
            self._expect("]")
            for value in values:
                self._check_known(column, value)
            inside = column.isin(values).astype("boolean").where(column.notna())
            return ~inside if negated else inside
        symbol = self._next("a comparison")
        if symbol not in _COMPARE:
            raise self._error(f"{symbol!r} is no comparison (==, !=, <, <=, >, >=, in, is missing)")
        is_level = str(column.name).startswith(LEVEL) and _NULL not in set(column.dropna())
        if is_level and symbol in _EQUALITY and self._accept(_NULL):  # which is no missing measurement
            is_null: pd.Series[Any] = column.isna() == _COMPARE[symbol](1, 1)
            return is_null.astype("boolean")
        column, value = self._compared(column)
        if symbol in _EQUALITY:
            self._check_known(column, value)
        mask: pd.Series[Any] = _COMPARE[symbol](column, value).astype("boolean")
        return mask.where(column.notna())

    def _compared(self, column: pd.Series[Any]) -> tuple[pd.Series[Any], Any]:
        """Column and value; a level beside a number is a number too, or compares with nothing."""
        value = self._value(column)
        if not (isinstance(value, str) and str(column.name).startswith(LEVEL)):
            return column, value
        try:
            return pd.to_numeric(column, errors="coerce").astype("Float64"), float(value)
        except ValueError:
            return column, value

    def _check_known(self, column: pd.Series[Any], value: Any) -> None:
        """Refuse what no run can have there, where that is known."""
        name = str(column.name)
        known = _WORDS.get(name, [])
        if name in ("variant", "rung") or name.startswith(LEVEL):
            known = list(dict.fromkeys(self.frame[name].dropna()))
        if known and value not in known and not (column == value).fillna(False).any():
            words = [facts.spelled(item) for item in known]
            contract = f"be one of {', '.join(words)}" if len(words) <= _SHOWN else "be in the table"
            asked = facts.spelled(value)
            raise invalid(f"--filter {name}", asked, contract, did_you_mean(asked, words))

    def _value(self, column: pd.Series[Any]) -> Any:
        text = self._next("a value")
        if text[0] in "'\"":
            text = text[1:-1]
        try:
            if pd.api.types.is_bool_dtype(column.dtype):
                return {"true": True, "false": False}[text.lower()]
            if pd.api.types.is_numeric_dtype(column.dtype):
                return float(text)
            if pd.api.types.is_datetime64_any_dtype(column.dtype):
                moment = pd.Timestamp(text)
                return moment.tz_localize("UTC") if moment.tzinfo is None else moment
        except (ValueError, KeyError) as error:
            raise self._error(f"{text!r} does not compare with {column.name} ({column.dtype})") from error
        return text

    def _peek(self) -> str:
        return self.tokens[self.place][1] if self.place < len(self.tokens) else ""

    def _next(self, what: str) -> str:
        if self.place >= len(self.tokens):
            raise self._error(f"it ends where {what} should follow")
        self.place += 1
        return self.tokens[self.place - 1][1]

    def _accept(self, word: str) -> bool:
        found = self._peek().lower() == word
        self.place += found
        return found

    def _expect(self, word: str) -> None:
        if not self._accept(word):
            raise self._error(f"{word!r} should follow, not {self._peek()!r}")

    def _error(self, problem: str) -> SweepkitError:
        return invalid(self.option, self.expression, f"parse ({problem})", _EXAMPLE)
