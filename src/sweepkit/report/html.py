"""The report as one self-contained HTML page: inline style and SVG, no script, nothing fetched.

A reader gets the question, the outcome, why, the evidence, and what would be needed to check it: the rule
and its hash, every run, the environments. All text from configurations and records is escaped.
"""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from pathlib import Path

from markdown_it import MarkdownIt

from sweepkit import fsio
from sweepkit.analysis import comparable
from sweepkit.printable import counted
from sweepkit.promotion import next_steps
from sweepkit.promotion.verdict_record import Final
from sweepkit.report import numbers, plots, sections, sheets, stamp
from sweepkit.report.content import NOT_RUN, Content, gather
from sweepkit.report.markup import code, facts, figure, table, tree
from sweepkit.sweep import last_rung, tested
from sweepkit.sweep.decision import AXES
from sweepkit.sweep.frozen import Frozen


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
    fsio.write_text(path, stamp.stamped(render(content), content.sweep_dir))
    return path


def render(content: Content) -> str:
    """The page as text."""
    parts = [
        ("tested", "What was tested", _tested(content)),
        ("verdicts", "Verdicts", _verdicts(content)),
        ("rule", "Decision rule", _rule(content)),
        ("summary", "Summary", _summary(content)),
        ("effects", "Effects", _effects(content)),
        ("transfer", "Transfer between depths", _transfer(content) + sections.between_rungs(content)),
        ("equal-cost", "At equal cost", sections.at_equal_cost(content)),
        ("combinations", "Combinations", sections.combinations(content)),
        ("texts", "Evaluation texts", sections.texts(content)),
        ("curves", "Learning curves", _curves(content)),
        ("runs", "Runs", _runs(content)),
        ("environment", "Environment", _environment(content)),
        ("files", "Files", facts((what, code(path)) for what, path in content.files.items())),
    ]
    shown = [section for section in parts if section[2]]
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
        f"<footer>Made by sweepkit on {made} from {code(content.sweep_dir)}.</footer></body></html>\n"
    )


def _header(content: Content) -> str:
    question = content.frozen.question if content.frozen else ""
    runs = content.runs.drop_duplicates("run_id")  # which two cells may share
    states = ", ".join(f"{number} {state}" for state, number in runs["state"].value_counts().items())
    cards = []
    if content.promotion:
        ends = ((final, content.promotion.of(final)) for final in Final)
        cards = [(str(len(names)), final.value, final.value) for final, names in ends if names]
    cards.append((str(len(runs)), f"runs: {states}", ""))
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


def _tested(content: Content) -> str:
    """Every variant's fields beside the reference's, and what all runs share."""
    if (frozen := content.frozen) is None:
        return ""
    told = {cell.variant for cell in frozen.fixed} | {row.variant for row in content.transfer}
    found = tested.changes((cell for cell in frozen.cells if cell.variant in told), frozen.search)
    shared = [
        ("ladder", frozen.ladder_base),
        ("base", frozen.base),
        ("command line", frozen.overrides),
        ("seeds", map(str, frozen.seeds)),
    ]
    said = [(what, code(" ".join(items))) for what, items in shared if items]
    return table(sheets.tested(found)) + facts(said)


def _verdicts(content: Content) -> str:
    following = next_steps.of(content.frozen, content.promotion) if content.frozen else []
    steps = "".join(f"<li>{escape(step)}</li>" for step in following)
    after = f"<h3>What to do next</h3><ul>{steps}</ul>" if steps else ""
    if content.promotion is None:
        return f"<p>No verdicts: this sweep was not promoted.</p>{after}{_reading()}"
    evidence = "".join(
        f"<h3>{escape(verdict.rung)} · {escape(verdict.variant)}</h3>{tree(verdict.evidence)}"
        for verdict in content.verdicts
        if verdict.evidence
    )
    rungs = table(sheets.verdicts(content.verdicts))
    axes = table(sheets.axes(content.verdicts, content.decision))
    sure = (
        f"How sure: of sweeps like this in which nothing truly helps, at most {content.decision.alpha:.3g} "
        "adopt anything, however many variants they try."
    )
    return (
        f"<p>{escape(content.promotion.message)}</p>{table(sheets.finals(content.promotion))}"
        f'<p class="soft">{escape(sure)}</p>{after}{_reading()}'
        f"<h3>On each axis</h3>{axes}"
        f"<details><summary>Every verdict, rung by rung</summary>{rungs}</details>"
        f"<details><summary>Evidence behind each verdict</summary>{evidence}</details>"
    )


def _reading() -> str:
    """The page on how to read a verdict, folded; its headings are below the section's."""
    reader = MarkdownIt().enable("table")
    _, title, _, *tokens = reader.parse(Path(__file__).with_name("reading_a_verdict.md").read_text())
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = "h4"
    text = reader.renderer.render(tokens, reader.options, {})
    return f"<details><summary>{escape(title.content)}</summary>{text}</details>"


def _rule(content: Content) -> str:
    if content.frozen is None:
        return ""
    rule = content.frozen.decision
    found = [
        ("metric", f"{code(rule.metric)}, {'higher' if rule.is_higher_better else 'lower'} is better"),
        *_last(content, content.frozen),
        ("error rate α", f"{rule.alpha:g} over the variants of a rung"),
        ("smallest effect", f"{rule.min_effect:g} {rule.unit_in_words}".strip()),
    ]
    words = {"superior": "must be better", "not_worse": "must not be worse"}
    for axis, demand in rule.axes.judged.items():
        margin = rule.margins.given.get(axis)
        by = (
            f" by more than {numbers.percent(margin)}" if margin is not None and demand == "not_worse" else ""
        )
        found.append((f"on {sheets.AXIS_NAMES.get(axis, axis)}", escape(words.get(demand, demand) + by)))
    left_out = [sheets.AXIS_NAMES.get(axis, axis) for axis in AXES if axis not in rule.axes.judged]
    found += [("not judged", escape(", ".join(left_out)))] if left_out else []
    for rung in content.frozen.rungs:
        overrides = " ".join(rung.overrides)
        found.append((f"rung {rung.name}", code(overrides) if overrides else "as the sweep file says"))
    seen = content.frozen.seen
    when = "" if seen.runs else ", before the first run"
    found.append(("frozen as", f"{code(content.frozen.sha256)} (SHA-256{when})"))
    found += [("known before", escape(sentence)) for sentence in seen.sentences]
    return facts(found)


def _last(content: Content, frozen: Frozen) -> list[tuple[str, str]]:
    """What the last rung goes by, scores that may speak against a variant, and amendments."""
    at_top = next((cell.plan.config for cell in frozen.cells if cell.rung == frozen.rungs[-1].name), None)
    said = last_rung.said(frozen.decision, frozen.rungs, at_top)
    found = [("last rung", escape(said))] if said else []
    found += [
        (f"score {name}", f"higher is better; shown to be lower by more than {margin:g} rejects")
        for name, margin in frozen.decision.scores.items()
    ]
    return found + [
        (
            f"amendment {item.number}",
            escape(f"{counted(len(item.seeds), 'fresh seed')} for {', '.join(item.variants)}, at α = ")
            + f"{content.rule_on(item.rung).alpha:g}",
        )
        for item in frozen.amendments
    ]


def _effects(content: Content) -> str:
    parts = []
    for rung in content.rungs:
        rows = content.judged(rung).dropna(subset=["effect"])
        if len(rows):
            outcomes = {v.variant: v.outcome.value for v in content.verdicts if v.rung == rung}
            svg = plots.forest(rows, content.rule_on(rung), outcomes)
            parts.append(f"<h3>{escape(rung)}</h3>" + figure(svg))
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
    svg = plots.transfer(climbed, plots.colours(content.variants), content.decision)
    caption = (
        f"{content.decision.metric} of variants that were measured on two rungs or more. An effect that "
        "keeps its size and sign to the right transfers; one that meets the zero line fades."
    )
    return figure(svg, caption) + table(sheets.transfer(content.transfer, content.decision.metric))


def _curves(content: Content) -> str:
    colour = plots.colours(content.variants)
    parts = []
    for rung in content.rungs:
        rows = content.curves[content.curves["rung"] == rung]
        if rows["loss"].notna().any():
            parts.append(f"<h3>{escape(rung)}</h3>" + figure(plots.learning_curves(rows, colour)))
    if not parts:
        return ""
    return '<p class="soft">Thin lines are single seeds, thick lines their mean.</p>' + "".join(parts)


def _summary(content: Content) -> str:
    run = content.runs[content.runs["state"] != NOT_RUN]
    sheet = sheets.summary(run, content.decision.metric)
    if len(run) < len(content.runs):
        left = len(content.runs) - len(run)
        sheet.notes.append(f"{left} more runs were frozen and never needed: their variants did not climb.")
    return table(sheet)


def _runs(content: Content) -> str:
    number = content.runs["run_id"].nunique()
    return f"<details><summary>{counted(number, 'run')}</summary>{table(sheets.runs(content.runs))}</details>"


def _environment(content: Content) -> str:
    found = []
    runs = content.runs.drop_duplicates("run_id")
    started = runs[runs["environment_fingerprint"].notna() | runs["hardware"].notna()]
    for title, column in (
        ("hardware", "hardware"),
        ("device", "device"),
        ("dtype", "dtype"),
        ("commit", "git_commit"),
        ("sources", "sources"),
        ("environment", "environment_fingerprint"),
        ("evaluation", "evaluation_fingerprint"),
    ):
        counts = started[column].value_counts()
        shown = [f"{code(value)} ({counted(number, 'run')})" for value, number in counts.items()]
        if shown:
            found.append((title, ", ".join(shown)))
    if started["git_dirty"].fillna(False).any():
        found.append(("checkout", "had changes that were not committed"))
    if taken := comparable.accepted(runs):
        found.append(("accepted", taken))
    return facts(found) if found else ""
