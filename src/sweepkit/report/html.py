"""The report as one self-contained HTML page (``page.html.jinja``), of what ``sections.py`` says.

A reader gets the question, what was tested, the outcome, why, the evidence, and what would be needed to check
it: the rule and its hash, every run, the environments. The template escapes all text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from sweepkit import fsio
from sweepkit.plan.run_plan import RunPlan
from sweepkit.printable import printable
from sweepkit.promotion.verdict_record import Final
from sweepkit.report import inside, numbers, sections, stamp
from sweepkit.report.content import Content, gather
from sweepkit.report.page_block import Block
from sweepkit.results.record import RunDir

_HERE = Path(__file__).parent
_SCRIPTS = ("page.js", "scales.js", "chart.js")


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
    content.files["report"] = path
    fsio.write_text(path, stamp.stamped(render(content), content.sweep_dir))
    return path


def render(content: Content) -> str:
    """The page as text."""
    made = [(title, make.__name__, make(content)) for title, make in sections.SECTIONS.items()]
    question = content.frozen.question if content.frozen else ""
    return page(content.name, question, made, content.sweep_dir, content.problems, _cards(content))


def write_run(run_dir: RunDir, plan: RunPlan, output: Path) -> Path:
    """Write the page of one run atomically and return its path: what looks wrong, and plots of its inside."""
    parts = [("Inside the run", "inside", inside.of_run(run_dir, plan))]
    fsio.write_text(output, page(plan.run_id, "", parts, run_dir.path))
    return output


def page(
    name: str,
    question: str,
    parts: Sequence[tuple[str, str, Sequence[Block]]],
    folder: Path | str,
    problems: Sequence[str] = (),
    cards: Sequence[tuple[str, str, str]] = (),
) -> str:
    """Any page: its title, what was asked, and sections (title, anchor, blocks); empty ones are left out."""
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    environment.globals["plain"] = numbers.plain
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    environment.filters |= {"options_whole": _options_whole, "parted": _parted}
    text = environment.get_template("page.html.jinja").render(
        name=name,
        question=question,
        problems=problems,
        cards=cards,
        sections=[part for part in parts if part[2]],
        style=Markup(_HERE.joinpath("page.css").read_text()),
        script=Markup("\n".join(_HERE.joinpath(name).read_text() for name in _SCRIPTS)),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        folder=folder,
    )
    return printable(text)  # a log's escape sequences are no HTML


def _options_whole(text: str) -> Markup:
    """Text as HTML in which no line ends within an option, as browsers would between its two hyphens."""
    parts = re.split(r"(--[a-z-]+)", text)
    typed = Markup("<kbd>{}</kbd>")
    return Markup("").join(
        typed.format(part) if part.startswith("--") else _parted(escape(part)) for part in parts
    )


def _parted(cell: Markup) -> Markup:
    """HTML in which a line may end within a label, which may be all fields of a point."""
    return Markup(re.sub(r"(,(?=\S)|(?<=\w)\.(?=[a-z]))", r"\1<wbr>", str(cell)))


def _cards(content: Content) -> list[tuple[str, str, str]]:
    """Number, what it counts, tone."""
    runs = content.runs.drop_duplicates("run_id")  # which two cells may share
    states = ", ".join(f"{number} {state}" for state, number in runs["state"].value_counts().items())
    ends = [(final, content.promotion.of(final)) for final in Final] if content.promotion else []
    return [
        *((str(len(names)), final.value, final.value) for final, names in ends if names),
        (str(len(runs)), f"runs: {states}", ""),
        (" → ".join(content.rungs), "rungs", ""),
        (f"{content.decision.alpha:g}", "error rate α", ""),
    ]
