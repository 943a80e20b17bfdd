"""A sweep as it is committed: ``results/published/NAME/``, from which every verdict can be made again.

The folder is named like the sweep and reads like one without its runs: ``sweepkit results FOLDER`` and
``report FOLDER`` take it, and the ladder's own rule gives the same verdicts from its tables
(``promotion/replay.py``). What a report repeats is left out; it is made when it is asked for.
"""

from __future__ import annotations

import gzip
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import pandas as pd

from sweepkit import fsio, sealed
from sweepkit.analysis import calibration_file
from sweepkit.errors import SweepkitError, invalid
from sweepkit.printable import printable
from sweepkit.promotion import conclusion
from sweepkit.promotion.verdict_record import Final, Promotion
from sweepkit.report import findings, gains, markdown, plots, sheets, sheets_findings
from sweepkit.report.content import Content, gather
from sweepkit.results import export, store
from sweepkit.sweep import frozen_head, frozen_lines, published_seal

_FIGURE = "figure.svg"
_CURVES = ("run_id", "variant", "rung", "seed", "step", "tokens", "train_time_s", "flops", "loss", "val_bpb")
_LOSSES_A_RUN = 256
_ENVIRONMENT = (
    "rung", "hardware", "device", "dtype", "num_threads", "concurrency", "compiled", "torch", "git_commit",
    "git_dirty", "sources", "text_digest", "measured_on",
)  # fmt: skip
_SHOWN = ["rung", "hardware", "dtype", "num_threads", "torch"]


def publish(sweep: str, results_dir: Path, into: Path, commands: str = "") -> Path:
    """Write what to commit of a sweep that is decided; again, it replaces what was there.

    Args:
        into: the folder to make the sweep's in.
        commands: how it was run, a line each; by default as its frozen plan says.

    Returns:
        The folder.

    Raises:
        ConfigError: nothing was decided yet.
        SweepkitError: a file of it is not what was written.
    """
    content = gather(sweep, results_dir)
    whole, promotion = content.frozen, content.promotion
    if content.problems:  # what is sealed now would be believed for ever
        raise SweepkitError(content.problems[0])
    if whole is None or promotion is None or not promotion.finished:
        remedy = f"sweepkit promote {sweep} goes on with it"
        raise invalid("publish", sweep, "be a sweep whose verdicts stand", remedy)
    folder = into.absolute() / sweep
    if folder == content.sweep_dir:
        raise invalid("publish", str(folder), "be another folder than the sweep's own", "name another one")
    made = fsio.make_temporary(folder)
    try:
        _fill(made, content, promotion, results_dir, commands)
        published_seal.put(made, folder)
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return folder


def _fill(folder: Path, content: Content, promotion: Promotion, results_dir: Path, commands: str) -> None:
    """All files but their seal."""
    sweep = content.name
    for pattern in published_seal.COPIED:
        for path in content.sweep_dir.glob(pattern):
            _copy(path, folder, promotion.frozen_sha256)
    fsio.write_text(folder / "effects.csv", export.csv(conclusion.effects_table(promotion)))
    fsio.write_text(folder / "costs.csv", export.csv(conclusion.costs_table(promotion)))
    known = results_dir / calibration_file.NAME
    if known.is_file():
        _copy(known, folder, promotion.frozen_sha256)
    plan = "".join(f"{line.decode()}\n" for line in frozen_lines.read(content.sweep_dir))
    _write_packed(folder / published_seal.PACKED_PLAN, plan)
    _write_packed(folder / published_seal.RUNS, export.csv(store.load(sweep, results_dir)))
    export.write(_curves(content.curves), folder / published_seal.CURVES, "parquet")
    by_document = gains.documents(content)
    if by_document["effect"].notna().any():
        fsio.write_text(folder / published_seal.DOCUMENTS, export.csv(by_document))
        fsio.write_text(folder / published_seal.BREAKDOWN, export.csv(gains.breakdown(content)))
    if len(tasks := findings.tasks(content)):
        fsio.write_text(folder / published_seal.TASKS, export.csv(tasks))
    environment = environments(content.runs)
    fsio.write_text(folder / "environment.csv", export.csv(environment))
    line = ["sweepkit", "promote", sweep, *frozen_head.read(content.sweep_dir).overrides]
    commands = commands or shlex.join(line)
    fsio.write_text(folder / "commands.txt", f"{commands}\n")
    fsio.write_text(folder / _FIGURE, printable(_figure(content).replace("currentColor", "#333")))
    few = gains.leaning(by_document, content.verdicts)
    page = _page(content, promotion, environment, commands, few, tasks)
    fsio.write_text(folder / "README.md", printable(page))


def environments(runs: pd.DataFrame) -> pd.DataFrame:
    """What runs were computed and measured with: a row for each that differs, with the number of its runs."""
    started = runs[runs["hardware"].notna()].drop_duplicates("run_id")
    names = [name for name in _ENVIRONMENT if name in started]
    return started.groupby(names, dropna=False, sort=False).size().rename("runs").reset_index()


def _copy(path: Path, folder: Path, frozen_sha256: str) -> None:
    """Take over a file as it was written. Raises DamagedError where it is no longer, or of another plan."""
    data = fsio.read_bytes(path)
    if path.suffix == ".json":
        content = {"frozen_sha256": frozen_sha256} | sealed.loads(path, data)
        sealed.check_is_of(path, content, frozen_sha256=frozen_sha256)
    fsio.write_atomic(folder / path.name, lambda file: file.write(data))


def _write_packed(path: Path, text: str) -> None:
    """The same text gives the same bytes."""
    packed = gzip.compress(text.encode(), mtime=0)

    def fill(file: IO[bytes]) -> None:
        file.write(packed)

    fsio.write_atomic(path, fill)


def _curves(curves: pd.DataFrame) -> pd.DataFrame:
    """Losses by step: every evaluation, and of a long run as many training losses as can be told apart."""
    found = curves[[name for name in _CURVES if name in curves]]
    longest = found.groupby("run_id")["step"].transform("max").astype("float64")
    stride = (longest / _LOSSES_A_RUN).clip(lower=1).round().astype("int64")
    is_kept = found["val_bpb"].notna() | (found["step"].astype("int64") % stride == 0)
    single = dict.fromkeys(("train_time_s", "loss"), "Float32")
    return found[is_kept].astype({name: kind for name, kind in single.items() if name in found})


def _figure(content: Content) -> str:
    """Effects from rung to rung; of a single rung, or where no other was reached, each with its interval."""
    rungs = content.rungs
    followed = content.effects()
    if len(rungs) > 1 and followed["depth"].nunique() > 1:
        above = set(followed.loc[followed["rung"] != rungs[0], "variant"])
        shown = followed[followed["variant"].isin(above)] if above else followed
        return plots.transfer(shown, plots.looks(content.variants), content.decision)
    outcomes = {item.variant: item.outcome.value for item in content.verdicts}
    last = next((rung for rung in reversed(rungs) if len(content.judged(rung))), rungs[-1])
    return plots.forest(content.judged(last), content.rule_on(last), outcomes)


def _epochs(runs: pd.DataFrame) -> str:
    """How often runs of every rung saw their text, the fewest and the most; nothing where it is not known."""
    seen = runs[runs["epochs"].notna()].groupby("rung", sort=False)["epochs"].agg(["min", "max"])
    ends = [(rung, f"{low:.2g}", f"{high:.2g}") for rung, low, high in seen.itertuples()]
    said = [f"{rung} {low}" if low == high else f"{rung} {low} to {high}" for rung, low, high in ends]
    return f"Epochs of its text that a run sees: {', '.join(said)}." if said else ""


def _tuned(content: Content) -> list[str]:
    """What every variant tried and took on selection seeds; without those runs what it took."""
    head = frozen_head.read(content.sweep_dir)
    if content.tried:
        return ["## Tuning", markdown.table(sheets.tuned(content.tried, content.decision.metric))]
    taken = [f"- {variant}: `{' '.join(overrides)}`" for variant, overrides in head.sweep.tuned.items()]
    return ["## Tuning", "\n".join(taken)] if taken else []


def _page(
    content: Content,
    promotion: Promotion,
    environment: pd.DataFrame,
    commands: str,
    few: Sequence[str],
    tasks: pd.DataFrame,
) -> str:
    """The question, what came out, a table and a figure, verdicts in words with ``gains.leaning``, scores."""
    rule = content.decision
    states = content.runs.drop_duplicates("run_id")["state"].value_counts()
    counts = ", ".join(f"{number} {state}" for state, number in states.items())
    asked = content.frozen.question if content.frozen else ""
    shown = environment.groupby(_SHOWN, dropna=False, sort=False)["runs"].sum().reset_index()
    parts = [
        f"# {content.name}",
        asked,
        f"{promotion.message[:1].upper()}{promotion.message[1:]}.",
        f"Runs: {counts}. Decided by {rule.metric}, α = {rule.alpha:.3g}, min_effect {rule.min_effect:g}; "
        f"frozen as `{promotion.frozen_sha256[:12]}`.",
        _epochs(content.runs),
        f"![effects of {content.name}]({_FIGURE})",
        markdown.table(sheets_findings.transfer(promotion.transfer, rule.metric)),
        *_tuned(content),
        "## Verdicts",
    ]
    for outcome in Final:
        finals = [final for final in promotion.finals if final.outcome is outcome]
        lines = [f"- {final.variant} ({final.rung}): {'; '.join(final.reasons)}" for final in finals]
        parts += ["\n".join([f"{outcome.value}:", "", *lines])] if lines else []
    parts += ["\n".join(f"- {sentence}" for sentence in few)]
    parts += ["## Tasks", markdown.table(sheets_findings.tasks(tasks))] if len(tasks) else []
    parts += [
        "## How it was run",
        "\n".join(f"    {line}" for line in commands.splitlines()),
        export.encode(shown, "markdown").decode(),
        f"`{published_seal.RUNS}`: every run, failed ones too. `{published_seal.CURVES}`: losses by step. "
        "`sweepkit results` and `sweepkit report` read this folder; the verdicts follow from it again.",
    ]
    return "\n\n".join(part.rstrip() for part in parts if part.strip()) + "\n"
