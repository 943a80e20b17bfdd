"""What a search has tried: the best trial, how it came there, which field mattered, and a look along each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from sweepkit import results
from sweepkit.errors import SweepkitError
from sweepkit.printable import counted
from sweepkit.report import chart_data, numbers
from sweepkit.report.content import Content
from sweepkit.report.page_block import Block, Drawn
from sweepkit.report.plots import look
from sweepkit.report.sheet import Mark, Sheet
from sweepkit.report.summary import COMPLETE
from sweepkit.results.columns import PLANNED
from sweepkit.sweep import trials
from sweepkit.sweep.decision import DecisionRule
from sweepkit.sweep.search_space import Choices, Interval, Parameter
from sweepkit.sweep.search_spec import SearchSpec


def tried(content: Content) -> list[Block]:
    """All of it, of a search's lowest rung; nothing of a sweep that lists its points."""
    if content.frozen is None or (spec := content.frozen.search) is None:
        return []
    found = _trials(content, spec)
    if found.empty:
        return []
    done = found[found["state"] == COMPLETE]
    if done.empty:
        return [Block("", "No trial is complete yet."), _all_trials(found, content.decision.metric, spec)]
    return [
        *_best(content, spec, done),
        Block("title", "History"),
        Block(
            "chart",
            Drawn("trials", _history(done, content)),
            "Where the line falls, a trial was better than all before.",
        ),
        *_importances(content),
        *_slices(content, spec, done),
        _all_trials(found, content.decision.metric, spec),
    ]


def _trials(content: Content, spec: SearchSpec) -> pd.DataFrame:
    """A row a trial: number, state, value (over all its seeds), run, and the fields of the space."""
    metric, rung = content.decision.metric, content.rungs[0]
    here = content.runs[content.runs["rung"] == rung].drop_duplicates("run_id").set_index("run_id")
    rows = []
    for trial in trials.load(content.sweep_dir):
        runs = here.reindex([cell.plan.run_id for cell in trial.cells])
        states = [state for state in runs["state"].fillna(PLANNED) if state != COMPLETE]
        is_done = bool(trial.cells) and not states and runs[metric].notna().all()
        rows.append(
            {
                "trial": trial.number,
                "state": COMPLETE if is_done else next(iter(states), "invalid"),
                "value": float(runs[metric].mean()) if is_done else np.nan,
                "run": trial.cells[0].plan.run_id if trial.cells else None,
                **{name: _proposed(trial.params, name, item) for name, item in spec.space.items()},
            }
        )
    # as objects, for a whole number stays one beside what was not proposed
    return pd.DataFrame(rows, dtype=object).astype({"trial": int, "value": float} if rows else {})


def _proposed(params: Mapping[str, Any], name: str, item: Parameter) -> Any:
    """A field's value, a choice of nothing as it is written; None where its condition did not hold."""
    is_null = isinstance(item, Choices) and name in params and params[name] is None
    return "null" if is_null else params.get(name)


def _best(content: Content, spec: SearchSpec, done: pd.DataFrame) -> list[Block]:
    """The best trial, with values in full: a rounded rate would be another run."""
    row = _first(done, content).iloc[0]
    facts: list[tuple[str, str | Mark | list[str | Mark]]] = [
        (content.decision.metric, numbers.bpb(row["value"])),
        *((name, Mark(_in_full(row[name]), "code")) for name in spec.space if row[name] is not None),
        ("run", Mark(str(row["run"]), "code")),
        ("train it", Mark(f"sweepkit results {content.name} --best", "code")),
    ]
    title = f"The best of {counted(len(done), 'complete trial')}: trial {row['trial']}"
    return [Block("title", title), Block("facts", facts)]


def _in_full(value: object) -> str:
    """As it reads back."""
    return repr(float(value)) if isinstance(value, float) else str(value)  # pandas has its own kind of float


def _history(done: pd.DataFrame, content: Content) -> chart_data.Chart:
    """Every complete trial, and the best value so far."""
    sign = content.decision.sign
    best = done.assign(value=(done["value"] * sign).cummin() * sign)
    x, y = {"trial": "trial"}, {"value": in_unit(content.decision)}
    return chart_data.points(x, y, [("trials", look(0), done)], best=("best so far", look(2), best))


def _importances(content: Content) -> list[Block]:
    """Which field mattered; why that cannot be said, where it cannot."""
    try:
        found = results.importances(content.name, content.sweep_dir.parent)
    except SweepkitError as error:
        return [Block("soft", f"Which field mattered is not known: {error}")]
    sheet = Sheet(("field", ">importance", "best"))
    for row in found.itertuples(index=False):
        sheet.add(Mark(str(row[0]), "code"), numbers.percent(row[1]), str(row[2]))
    sheet.notes.append(
        "PED-ANOVA: how otherwise a field is distributed among the better trials; shares of 1."
    )
    return [Block("title", "Importances"), Block("table", sheet)]


def _slices(content: Content, spec: SearchSpec, done: pd.DataFrame) -> list[Block]:
    """The metric along each field: a chart of numbers, a table of choices."""
    metric = content.decision.metric
    along = {name: name for name, it in spec.space.items() if isinstance(it, Interval)}
    blocks = []
    if along:
        log = [name for name, it in spec.space.items() if isinstance(it, Interval) and it.log]
        drawn = [("trials", look(0), done), ("best", look(2)._replace(style=1), _first(done, content))]
        data = chart_data.points(along, {"value": in_unit(content.decision)}, drawn, log=log)
        blocks += [
            Block("title", "Along each field"),
            Block("chart", Drawn("slices", data), "x chooses the field."),
        ]
    choices = [name for name in spec.space if name not in along]
    sheet = Sheet(("field", "choice", ">trials", f">best {metric}", ">median"))
    for name in choices:
        for place, (choice, rows) in enumerate(done.groupby(name, sort=False)["value"]):
            ends = (rows.max() if content.decision.is_higher_better else rows.min(), rows.median())
            sheet.add(
                Mark(name, "code"), str(choice), str(len(rows)), *map(numbers.bpb, ends), new_group=not place
            )
    return [*blocks, *([Block("table", sheet)] if sheet.rows else [])]


def _first(done: pd.DataFrame, content: Content) -> pd.DataFrame:
    """The row of the best trial, of equal ones the first."""
    return done.sort_values("value", ascending=not content.decision.is_higher_better, kind="stable").iloc[:1]


def _all_trials(found: pd.DataFrame, metric: str, spec: SearchSpec) -> Block:
    sheet = Sheet((">trial", "state", f">{metric}", *(f">{name}" for name in spec.space), "run"))
    for row in found.to_dict("records"):
        values = (numbers.plain(row[name]) for name in spec.space)
        sheet.add(
            str(row["trial"]),
            Mark(row["state"], row["state"]),
            numbers.bpb(row["value"]),
            *values,
            row["run"] or "",
        )
    return Block("fold", f"All of {counted(len(found), 'trial')}", [Block("table", sheet)])


def in_unit(rule: DecisionRule) -> str:
    """The metric with its unit, as an axis names it."""
    return ", ".join(filter(None, (rule.metric, rule.unit_in_words)))
