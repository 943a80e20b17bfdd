"""What each section of the page says, in blocks: sheets, pictures, sentences; ``html.py`` draws them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from markdown_it import MarkdownIt
from markupsafe import Markup

from sweepkit.analysis import comparable, frontier
from sweepkit.config import typed
from sweepkit.printable import counted
from sweepkit.promotion import next_steps
from sweepkit.report import (
    code_diffs,
    findings,
    forecast_record,
    gains,
    grid,
    imported_content,
    inside,
    numbers,
    plot_frontier,
    plots,
    run_panels,
    search_front,
    search_tried,
    sheets,
    sheets_findings,
    sheets_gains,
)
from sweepkit.report.content import NOT_RUN, Content
from sweepkit.report.page_block import Block
from sweepkit.report.sheet import Mark
from sweepkit.sweep import last_rung, tested
from sweepkit.sweep.decision import AXES, DecisionRule
from sweepkit.sweep.frozen import Frozen

_ENVIRONMENT = (
    "hardware", "device", "dtype", "git_commit", "sources", "environment_fingerprint",
    "evaluation_fingerprint",
)  # fmt: skip


Fact = tuple[str, "str | Mark | list[str | Mark]"]


def what_was_tested(content: Content) -> list[Block]:
    """Every variant's fields beside the reference's, and what all runs share."""
    if content.imported is not None:
        notes = content.imported.notes
        facts = [
            *imported_content.come_from(content.imported),
            ("compared by", _compared_by(content.decision)),
        ]
        return [Block("facts", facts), *([Block("list", notes)] if notes else [])]
    if (frozen := content.frozen) is None:
        return []
    told = {cell.variant for cell in frozen.fixed} | {row.variant for row in content.transfer}
    found = tested.changes((it for it in frozen.cells if it.variant in told), frozen.search, frozen.code)
    shared = {
        "ladder": frozen.ladder_base,
        "base": frozen.base,
        "command line": frozen.overrides,
        "seeds": [str(seed) for seed in frozen.seeds],
    }
    said = [(what, _code(" ".join(items))) for what, items in shared.items() if items]
    tables = [Block("table", sheets.tested(found))] if found else []  # seeds alone change no field
    return [*tables, Block("facts", said), *_patches(content), *_selected(content)]


def _compared_by(rule: DecisionRule) -> list[str | Mark]:
    better = f", {'higher' if rule.is_higher_better else 'lower'} is better"
    return [_code(rule.metric), better, f" ({rule.unit_in_words})" if rule.unit_in_words else ""]


def _selected(content: Content) -> list[Block]:
    """What every variant tried and took before anything was compared."""
    if not content.tried or (frozen := content.frozen) is None:
        return []
    seeds = ", ".join(map(str, content.selection_seeds))
    said = f"Every variant took its best values on selection seeds {seeds}, which decide nothing else"
    return [Block("", f"{said}."), Block("table", sheets.tuned(content.tried, frozen.decision.metric))]


def _patches(content: Content) -> list[Block]:
    """What every level that is code changes, beside its verdict."""
    found: list[Block] = []
    for said, level, drawn in code_diffs.of(content):
        commits = [Block("list", level.commits)] if level.commits else []
        files = [f"{path} +{added} −{removed}" for path, (added, removed) in (level.files or {}).items()]
        patch = [Block("html", drawn)] if drawn else []
        warning = [Block("", level.measuring)] if level.measuring else []
        found.append(Block("fold", said, [*warning, *commits, Block("list", files), *patch]))
    return [Block("title", "Code"), *found] if found else []


def verdicts(content: Content) -> list[Block]:
    following = next_steps.of(content.frozen, content.promotion) if content.frozen else []
    after = [Block("title", "What to do next"), Block("list", following)] if following else []
    if content.promotion is None:
        why = "see above" if content.imported else "this sweep was not promoted"
        return [Block("", f"No verdicts: {why}."), *after, _reading()]
    evidence = [
        block
        for item in content.verdicts
        for block in (
            Block("title", f"{item.rung} · {item.variant}"),
            Block("tree", typed.dump(item.evidence)),
        )
    ]
    sure = (
        "How sure: of sweeps like this in which nothing truly helps, at most "
        f"{100 * content.decision.alpha:.3g}% adopt anything, however many variants they try."
    )
    few = gains.leaning(gains.documents(content), content.verdicts)
    return [
        Block("", content.promotion.message),
        Block("table", sheets.finals(content.promotion)),
        *([Block("list", few)] if few else []),
        *([] if content.imported else [Block("soft", sure)]),
        *after,
        _reading(),
        Block("title", "On each axis"),
        Block("table", sheets.axes(content.verdicts, content.decision)),
        Block("fold", "Every verdict, rung by rung", [Block("table", sheets.verdicts(content.verdicts))]),
        Block("fold", "Evidence behind each verdict", evidence),
    ]


def _reading() -> Block:
    """The page on how to read a verdict, folded; its headings are below the section's."""
    reader = MarkdownIt().enable("table")
    _, title, _, *tokens = reader.parse(Path(__file__).with_name("reading_a_verdict.md").read_text())
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = "h4"
    text = reader.renderer.render(tokens, reader.options, {})
    return Block("fold", title.content, [Block("html", Markup(text))])


def decision_rule(content: Content) -> list[Block]:
    if content.frozen is None:
        return []
    rule, seen = content.frozen.decision, content.frozen.seen
    found: list[Fact] = [
        ("metric", _compared_by(rule)),
        *_last(content, content.frozen),
        ("error rate α", f"{rule.alpha:g} over the variants of a rung"),
        ("smallest effect", f"{rule.min_effect:g} {rule.unit_in_words}".strip()),
    ]
    words = {"superior": "must be better", "not_worse": "must not be worse"}
    for axis, demand in rule.axes.judged.items():
        margin = rule.margins.given.get(axis) if demand == "not_worse" else None
        by = "" if margin is None else f" by more than {numbers.percent(margin)}"
        found.append((f"on {sheets.AXIS_NAMES[axis]}", words[demand] + by))
    left_out = [sheets.AXIS_NAMES[axis] for axis in AXES if axis not in rule.axes.judged]
    found += [("not judged", ", ".join(left_out))] if left_out else []
    for rung in content.frozen.rungs:
        said = _code(" ".join(rung.overrides)) if rung.overrides else "as the sweep file says"
        found.append((f"rung {rung.name}", said))
    when = "" if seen.runs else ", before the first run"
    found.append(("frozen as", [_code(content.frozen.sha256), f" (SHA-256{when})"]))
    return [Block("facts", [*found, *(("known before", sentence) for sentence in seen.sentences)])]


def _last(content: Content, frozen: Frozen) -> Iterable[Fact]:
    """What the last rung goes by, scores that may speak against a variant, and amendments."""
    at_top = next((cell.plan.config for cell in frozen.cells if cell.rung == frozen.rungs[-1].name), None)
    if said := last_rung.said(frozen.decision, frozen.rungs, at_top):
        yield "last rung", said
    for name, margin in frozen.decision.scores.items():
        yield f"score {name}", f"higher is better; shown to be lower by more than {margin:g} rejects"
    for item in frozen.amendments:
        many, alpha = counted(len(item.seeds), "fresh seed"), content.rule_on(item.rung).alpha
        yield f"amendment {item.number}", f"{many} for {', '.join(item.variants)}, at α = {alpha:g}"


def summary(content: Content) -> list[Block]:
    run = content.runs[content.runs["state"] != NOT_RUN]
    sheet = sheets.summary(run, content.decision.metric)
    if left := len(content.runs) - len(run):
        sheet.notes.append(
            f"{counted(left, 'run')} more: frozen and never needed, for their variants did not climb."
        )
    return [Block("table", sheet)]


def effects(content: Content) -> list[Block]:
    parts = []
    for rung in content.rungs:
        rows = content.judged(rung).dropna(subset=["effect"])
        if len(rows):
            outcomes = {v.variant: v.outcome.value for v in content.verdicts if v.rung == rung}
            parts += _pictured(rung, plots.forest(rows, content.rule_on(rung), outcomes))
    if not parts:
        return []
    intro = (
        "Difference to the reference, paired where runs saw the same data in the same order, with its "
        f"{100 * content.transfer[0].confidence:.4g}% interval; the grey band is the smallest effect that "
        "counts. Green was promoted or adopted, orange inconclusive, red rejected, blue not judged."
    )
    return [Block("soft", intro), *parts]


def transfer(content: Content) -> list[Block]:
    """How effects grow or fade on the way up, what is retained over all variants, and cliffs."""
    parts = []
    measured = content.effects().dropna(subset=["effect", "depth"])
    # a variant measured on one rung has nothing to tell here, and a cliff would flatten all others
    climbed = measured[measured.groupby("variant")["depth"].transform("nunique") > 1]
    if not climbed.empty:
        svg = plots.transfer(climbed, plots.looks(content.variants), content.decision)
        caption = (
            f"{content.decision.metric} of variants that were measured on two rungs or more. An effect that "
            "keeps its size and sign to the right transfers; one that meets the zero line fades."
        )
        told = sheets_findings.transfer(content.transfer, content.decision.metric)
        parts = [Block("figure", Markup(svg), caption), Block("table", told)]
    retained, cliffs = findings.retained(content), findings.cliffs(content)
    if retained["lower"].notna().any():
        parts += [Block("title", "Over all variants"), Block("table", sheets_findings.retention(retained))]
    if not cliffs.empty:
        parts += [Block("title", "Cliffs"), Block("table", sheets_findings.cliffs(cliffs))]
    return parts


def forecasts(content: Content) -> list[Block]:
    """What rungs were expected to show before they were run, and how such forecasts did."""
    mine, problems = forecast_record.compared(content.sweep_dir)
    if mine.empty and not problems:
        return []
    everything, _ = forecast_record.of_all(forecast_record.folders([content.sweep_dir.parent]))
    intro = (
        "Written down and sealed before each rung's first run; nine intervals in ten should hold what was "
        "measured. Forecasts decide nothing."
    )
    scores = forecast_record.score_sheet(everything)
    so_far = [Block("title", "Over all sweeps so far"), Block("table", scores)] if scores.rows else []
    table = [Block("table", forecast_record.sheet(mine))] if len(mine) else []
    return [Block("soft", intro), *(Block("", problem) for problem in problems), *table, *so_far]


def at_equal_cost(content: Content) -> list[Block]:
    """The frontier of every rung as a picture, and what variants reach on it as a table."""
    held = findings.at_equal_cost(content)
    drawn = held[held["axis"].notna()]
    if drawn.empty:
        return []
    looks, parts = plots.looks(content.variants), []
    for rung in dict.fromkeys(drawn["rung"]):
        metric = content.rule_on(rung).metric
        done = findings.complete(content, rung)
        losses = {str(name): float(value) for name, value in done.groupby("variant")[metric].mean().items()}
        label = ", ".join(filter(None, (metric, content.rule_on(rung).unit_in_words)))
        points, here = frontier.points(done, metric), drawn[drawn["rung"] == rung]
        parts += _pictured(rung, plot_frontier.frontier(points, here, losses, looks, label))
    intro = (
        "The grey line is what the reference reaches when it is trained for longer or shorter; a variant "
        "below it is better than the reference at that cost."
    )
    return [Block("soft", intro), *parts, Block("table", sheets_findings.frontier(held))]


def combinations(content: Content) -> list[Block]:
    """Main effects and interactions, conflicts first in words."""
    found = findings.combined(content)
    if found.empty:
        return []
    conflicts = found.loc[found["is_conflict"], ["rung", "sentence"]].itertuples(index=False)
    said = [Block("", [Mark(rung, "strong"), f": {sentence}"]) for rung, sentence in conflicts]
    return [*said, Block("table", sheets_findings.combinations(found))]


def texts(content: Content) -> list[Block]:
    """Every evaluation text, where there is more than the one that decides."""
    found = findings.on_probes(content)
    return [Block("table", sheets_findings.probes(found))] if found["metric"].nunique() > 1 else []


def tasks(content: Content) -> list[Block]:
    """What finished models were asked, where they were."""
    found = findings.tasks(content)
    return [] if found.empty else [Block("table", sheets_findings.tasks(found))]


def environment(content: Content) -> list[Block]:
    runs = content.runs.drop_duplicates("run_id")
    started = runs[runs["environment_fingerprint"].notna() | runs["hardware"].notna()]
    found: list[Fact] = []
    for column in _ENVIRONMENT:
        said: list[str | Mark] = []
        for value, number in started[column].value_counts().items():
            said += [", " if said else "", _code(value), f" ({counted(number, 'run')})"]
        found += [(column.replace("_", " "), said)] if said else []
    if started["git_dirty"].fillna(False).any():
        found.append(("checkout", "had changes that were not committed"))
    if taken := comparable.accepted(runs):
        found.append(("accepted", taken))
    return [Block("facts", found)] if found else []


def files(content: Content) -> list[Block]:
    return [Block("facts", [(what, _code(path)) for what, path in content.files.items()])]


SECTIONS: dict[str, Callable[[Content], list[Block]]] = {
    "What was tested": what_was_tested,
    "Verdicts": verdicts,
    "Decision rule": decision_rule,
    "Summary": summary,
    "Effects": effects,
    "Transfer between depths": transfer,
    "Forecasts": forecasts,
    "At equal cost": at_equal_cost,
    "Search": search_tried.tried,
    "Two objectives": search_front.front,
    "Both axes": grid.heat_maps,
    "Combinations": combinations,
    "Evaluation texts": texts,
    "Tasks": tasks,
    "Where a gain comes from": sheets_gains.section,
    "Learning curves": run_panels.curves,
    "Inside the runs": inside.of_sweep,
    "Runs": run_panels.runs,
    "Environment": environment,
    "Files": files,
}


def _code(value: object) -> Mark:
    return Mark(str(value), "code")


def _pictured(title: str, svg: str) -> list[Block]:
    return [Block("title", title), Block("figure", Markup(svg))]
