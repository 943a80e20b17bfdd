"""Sections of the page: at equal cost, combinations, evaluation texts, and between rungs."""

from __future__ import annotations

from html import escape

from sweepkit.analysis import frontier
from sweepkit.report import findings, plot_frontier, plots, sheets_findings
from sweepkit.report.content import Content
from sweepkit.report.markup import figure, table


def at_equal_cost(content: Content) -> str:
    """The frontier of every rung as a picture, and what variants reach on it as a table."""
    held = findings.at_equal_cost(content)
    drawn = held[held["axis"].notna()]
    if drawn.empty:
        return ""
    colour, parts = plots.colours(content.variants), []
    for rung in dict.fromkeys(drawn["rung"]):
        metric = content.rule_on(rung).metric
        done = findings.complete(content, rung)
        losses = {str(name): float(value) for name, value in done.groupby("variant")[metric].mean().items()}
        svg = plot_frontier.frontier(
            frontier.points(done, metric),
            drawn[drawn["rung"] == rung],
            losses,
            colour,
            ", ".join(filter(None, (metric, content.rule_on(rung).unit_in_words))),
        )
        parts.append(f"<h3>{escape(rung)}</h3>" + figure(svg))
    intro = (
        "The grey line is what the reference reaches when it is trained for longer or shorter; a variant "
        "below it is better than the reference at that cost."
    )
    return f'<p class="soft">{escape(intro)}</p>' + "".join(parts) + table(sheets_findings.frontier(held))


def combinations(content: Content) -> str:
    """Main effects and interactions, conflicts first in words."""
    found = findings.combined(content)
    if found.empty:
        return ""
    conflicts = "".join(
        f"<p><b>{escape(rung)}</b>: {escape(sentence)}</p>"
        for rung, sentence in found.loc[found["is_conflict"], ["rung", "sentence"]].itertuples(index=False)
    )
    return conflicts + table(sheets_findings.combinations(found))


def texts(content: Content) -> str:
    """Every evaluation text, where there is more than the one that decides."""
    found = findings.on_probes(content)
    if found["metric"].nunique() < 2:
        return ""
    return table(sheets_findings.probes(found))


def between_rungs(content: Content) -> str:
    """What is retained from rung to rung, and cliffs."""
    retained, cliffs = findings.retained(content), findings.cliffs(content)
    parts = []
    if retained["lower"].notna().any():
        parts.append("<h3>Over all variants</h3>" + table(sheets_findings.retention(retained)))
    if not cliffs.empty:
        parts.append("<h3>Cliffs</h3>" + table(sheets_findings.cliffs(cliffs)))
    return "".join(parts)
