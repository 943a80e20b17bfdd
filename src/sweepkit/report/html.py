"""The report as one self-contained HTML page: inline style and SVG, no script, nothing fetched.

A reader gets the question, the outcome, why, the evidence, and what would be needed to check it: the rule
and its hash, every run, the environments. All text from configurations and records is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

from sweepkit import fsio
from sweepkit.promotion.verdict import Final
from sweepkit.report import numbers, plots, sheets
from sweepkit.report.content import NOT_RUN, Content, gather
from sweepkit.report.sheets import Mark, Sheet

#: Text longer than this is a sentence and not a name.
_SENTENCE = 60


def write(sweep: str, results_dir: Path | None = None, output: Path | None = None) -> Path:
    """Write the report of a sweep atomically and return its path.

    Args:
        sweep: name of a frozen sweep.
        output: where to; by default ``results/<sweep>/report.html``.

    Raises:
        SweepkitError: no sweep of that name has been frozen here.
    """
    content = gather(sweep, results_dir)
    path = output or content.sweep_dir / "report.html"
    fsio.write_text(path, render(content))
    return path


def render(content: Content) -> str:
    """The page as text."""
    sections = [
        ("verdicts", "Verdicts", _verdicts(content)),
        ("rule", "Decision rule", _rule(content)),
        ("summary", "Summary", _summary(content)),
        ("effects", "Effects", _effects(content)),
        ("transfer", "Transfer between depths", _transfer(content)),
        ("curves", "Learning curves", _curves(content)),
        ("runs", "Runs", _runs(content)),
        ("environment", "Environment", _environment(content)),
        ("files", "Files", _facts((what, _code(path)) for what, path in content.files.items())),
    ]
    shown = [section for section in sections if section[2]]
    links = "".join(f'<a href="#{anchor}">{escape(title)}</a>' for anchor, title, _ in shown)
    body = "".join(
        f'<section id="{anchor}"><h2>{escape(title)}</h2>{text}</section>' for anchor, title, text in shown
    )
    style = Path(__file__).with_name("page.css").read_text()
    made = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(content.name)} – sweepkit report</title><style>\n{style}</style></head>\n<body>"
        f"<header>{_header(content)}<nav>{links}</nav></header>\n{body}\n"
        f"<footer>Made by sweepkit on {made} from {_code(content.sweep_dir)}.</footer></body></html>\n"
    )


def _header(content: Content) -> str:
    question = content.frozen.question if content.frozen else ""
    states = content.runs["state"].value_counts()
    runs = ", ".join(f"{number} {state}" for state, number in states.items())
    cards = []
    if content.promotion:
        ends = ((final, content.promotion.of(final)) for final in Final)
        cards = [(str(len(names)), final.value, final.value) for final, names in ends if names]
    cards.append((str(content.runs["run_id"].nunique()), f"runs: {runs}", ""))
    cards.append((" → ".join(content.rungs), "rungs", ""))
    cards.append((f"{content.decision.alpha:g}", "error rate α", ""))
    shown = "".join(
        f'<div class="card"><b class="{escape(tone)}">{escape(number)}</b><span>{escape(what)}</span></div>'
        for number, what, tone in cards
    )
    warnings = "".join(f'<div class="warning">{escape(problem)}</div>' for problem in content.problems)
    return (
        f"<h1>{escape(content.name)}</h1>"
        + (f'<p class="lead">{escape(question)}</p>' if question else "")
        + f'{warnings}<div class="cards">{shown}</div>'
    )


def _verdicts(content: Content) -> str:
    if content.promotion is None:
        command = _code(f"sweepkit promote {content.name}")
        return f"<p>No verdicts: this sweep was not promoted. {command} decides.</p>"
    evidence = "".join(
        f"<h3>{escape(verdict.rung)} · {escape(verdict.variant)}</h3>{_tree(verdict.evidence)}"
        for verdict in content.verdicts
        if verdict.evidence
    )
    rungs = _table(sheets.verdicts(content.verdicts))
    axes = _table(sheets.axes(content.verdicts, content.decision))
    return (
        f"<p>{escape(content.promotion.message)}</p>{_table(sheets.finals(content.promotion))}"
        f"<h3>On each axis</h3>{axes}"
        f"<details><summary>Every verdict, rung by rung</summary>{rungs}</details>"
        f"<details><summary>Evidence behind each verdict</summary>{evidence}</details>"
    )


def _rule(content: Content) -> str:
    if content.frozen is None:
        return ""
    rule = content.frozen.decision
    facts = [
        ("metric", f"{_code(rule.metric)}, lower is better"),
        ("error rate α", f"{rule.alpha:g} over the variants of a rung"),
        ("smallest effect", f"{rule.min_effect:g} bits per byte"),
    ]
    words = {"superior": "must be better", "not_worse": "must not be worse"}
    for axis, demand in rule.axes.items():
        margin = rule.margins.get(axis)
        by = (
            f" by more than {numbers.percent(margin)}" if margin is not None and demand == "not_worse" else ""
        )
        facts.append((f"on {sheets.AXIS_NAMES.get(axis, axis)}", escape(words.get(demand, demand) + by)))
    for rung in content.frozen.rungs:
        overrides = " ".join(rung.overrides)
        facts.append((f"rung {rung.name}", _code(overrides) if overrides else "as the sweep file says"))
    facts.append(("frozen as", f"{_code(content.frozen.sha256)} (SHA-256, before the first run)"))
    return _facts(facts)


def _effects(content: Content) -> str:
    parts = []
    for rung in content.rungs:
        rows = content.effects(rung).dropna(subset=["effect"])
        if len(rows):
            outcomes = {v.variant: v.outcome.value for v in content.verdicts if v.rung == rung}
            svg = plots.forest(rows, content.decision.min_effect, outcomes)
            parts.append(f"<h3>{escape(rung)}</h3>" + _figure(svg))
    if not parts:
        return ""
    confidence = f"{100 * content.transfer[0].confidence:.4g}%"
    intro = (
        f"Difference to the reference, paired by data order, with its {confidence} interval; the grey band "
        "is the smallest effect that counts. Green was promoted or adopted, orange inconclusive, red "
        "rejected."
    )
    return f'<p class="soft">{escape(intro)}</p>' + "".join(parts)


def _transfer(content: Content) -> str:
    effects = content.effects().dropna(subset=["effect", "depth"])
    # a variant measured on one rung has nothing to tell here, and a cliff would flatten all others
    climbed = effects[effects.groupby("variant")["depth"].transform("nunique") > 1]
    if climbed.empty:
        return ""
    svg = plots.transfer(climbed, plots.colours(content.variants))
    caption = (
        "Variants that were measured on two rungs or more. An effect that keeps its size and sign to the "
        "right transfers; one that meets the zero line fades."
    )
    return _figure(svg, caption) + _table(sheets.transfer(content.transfer))


def _curves(content: Content) -> str:
    colour = plots.colours(content.variants)
    parts = []
    for rung in content.rungs:
        rows = content.curves[content.curves["rung"] == rung]
        if rows["loss"].notna().any():
            parts.append(f"<h3>{escape(rung)}</h3>" + _figure(plots.learning_curves(rows, colour)))
    if not parts:
        return ""
    return '<p class="soft">Thin lines are single seeds, thick lines their mean.</p>' + "".join(parts)


def _summary(content: Content) -> str:
    run = content.runs[content.runs["state"] != NOT_RUN]
    sheet = sheets.summary(run, content.decision.metric)
    if len(run) < len(content.runs):
        left = len(content.runs) - len(run)
        sheet.notes.append(f"{left} more runs were frozen and never needed: their variants did not climb.")
    return _table(sheet)


def _runs(content: Content) -> str:
    return (
        f"<details><summary>{len(content.runs)} runs</summary>{_table(sheets.runs(content.runs))}</details>"
    )


def _environment(content: Content) -> str:
    facts = []
    started = content.runs[content.runs["environment_fingerprint"].notna() | content.runs["hardware"].notna()]
    for title, column in (
        ("hardware", "hardware"),
        ("device", "device"),
        ("dtype", "dtype"),
        ("commit", "git_commit"),
        ("environment", "environment_fingerprint"),
        ("evaluation", "evaluation_fingerprint"),
    ):
        counts = started[column].value_counts()
        shown = [f"{_code(value)} ({number} runs)" for value, number in counts.items()]
        if shown:
            facts.append((title, ", ".join(shown)))
    if started["git_dirty"].fillna(False).any():
        facts.append(("checkout", "had changes that were not committed"))
    return _facts(facts) if facts else ""


def _table(sheet: Sheet) -> str:
    columns = zip(*sheet.rows, strict=True) if sheet.rows else [()] * len(sheet.headers)
    classes = [_class(header, cells) for header, cells in zip(sheet.headers, columns, strict=True)]
    head = "".join(
        f"<th{kind}>{escape(header.removeprefix('>'))}</th>"
        for kind, header in zip(classes, sheet.headers, strict=True)
    )
    rows = "".join(
        f"<tr{' class=rule' if number in sheet.breaks else ''}>"
        + "".join(f"<td{kind}>{_cell(cell)}</td>" for kind, cell in zip(classes, row, strict=True))
        + "</tr>"
        for number, row in enumerate(sheet.rows)
    )
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in sheet.notes)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{notes}'
    )


def _class(header: str, cells: Iterable[sheets.Cell]) -> str:
    """Numbers to the right; sentences keep room to be read on a narrow page."""
    if header.startswith(">"):
        return ' class="r"'
    return ' class="t"' if any(isinstance(cell, str) and len(cell) > _SENTENCE for cell in cells) else ""


def _cell(cell: sheets.Cell) -> str:
    if isinstance(cell, Mark):
        if cell.tone == "strong":
            return f"<b>{escape(cell.text)}</b>"
        return (
            f'<span class="{escape(cell.tone)}">{escape(cell.text)}</span>'
            if cell.tone
            else escape(cell.text)
        )
    lines = cell.split("\n")
    return escape(cell) if len(lines) == 1 else "".join(f"<p>{escape(line)}</p>" for line in lines)


def _tree(value: Any) -> str:
    """Nested evidence as nested lists of facts."""
    if isinstance(value, Mapping | list) and not value:
        return "none"
    if isinstance(value, Mapping):
        return _facts((str(key), _tree(item)) for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(_tree(item) for item in value)
    return escape(numbers.plain(value))


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    """A definition list; terms are escaped here, values are HTML already."""
    return "<dl>" + "".join(f"<dt>{escape(term)}</dt><dd>{value}</dd>" for term, value in facts) + "</dl>"


def _figure(svg: str, caption: str = "") -> str:
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return f"<figure>{svg}{below}</figure>"


def _code(value: object) -> str:
    return f"<code>{escape(str(value))}</code>"
