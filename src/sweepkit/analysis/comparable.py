"""Refusing to compare what cannot be compared.

Losses on different text, under another row layout or byte rule are different quantities, and a run on
other hardware, versions or threads differs by more than its variant. Records carry a fingerprint of either; a
rung whose complete runs disagree is refused with an error that names the difference. A dtype that differs
between variants but not within one is that variant's own change, and allowed, with the kernels that it brings
along; whatever else differs beside it is refused all the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from sweepkit.errors import SweepkitError
from sweepkit.sweep.metric import EMA

#: Parts of the environment fingerprint that are columns.
_PARTS = (
    "hardware", "device", "torch", "compiled", "num_threads", "num_ranks", "dtype", "fp8_backend",
    "attention", "evaluated_on",
)  # fmt: skip
#: How a verdict begins to say that its runs are not of one environment.
MIXED = "environments are mixed, as --allow-mixed-environments allows"
#: Of these, what a variant may change by its dtype.
_OWN = ("dtype", "fp8_backend", "attention")


def check(rows: pd.DataFrame, metric: str, allow_mixed_environments: bool = False) -> str | None:
    """Refuse runs that were measured on different text or made in different environments.

    Args:
        rows: complete runs of one rung.
        metric: ``val_bpb`` or ``bpb_<stream>``, of averaged weights too.
        allow_mixed_environments: compare across code, hardware, versions and threads all the same.

    Returns:
        A sentence on what is mixed; None where nothing is.

    Raises:
        SweepkitError: names the fingerprint, the runs and what differs.
    """
    if (found := difference(rows, metric)) is not None:
        raise SweepkitError(found)
    _check_text(rows)
    mixed = [item for item in (_other_sources(rows), _other_environment(rows)) if item]
    if mixed and not allow_mixed_environments:
        raise SweepkitError(mixed[0].refusal)
    return f"{MIXED} ({'; '.join(item.what for item in mixed)})" if mixed else None


@dataclass(frozen=True)
class _Mixture:
    """What differs between runs, shortly, and the sentence that refuses them."""

    what: str
    refusal: str


def difference(rows: pd.DataFrame, metric: str) -> str | None:
    """Why ``metric`` cannot be compared over these runs, by what it was measured on; None where it can."""
    column = evaluation_column(metric)
    for first, other in _disagreeing(rows, column):
        what = _differing(first, other, column.replace("evaluation_fingerprint", "measured_on"))
        shared = _shared(rows)
        remedy = (
            f"compare on a text that all share (decision.metric: {' or '.join(shared)})"
            if shared
            else "give both the same evaluation, tokenizer and sequence_len"
        )
        return (
            f"{column} is {_show(first, column)} for {first['run_id']} and {_show(other, column)} for "
            f"{other['run_id']}, but must be one for all runs compared: {metric} was measured on different "
            f"{what or 'text, byte ranges or row layouts'}; {remedy}"
        )
    return None


def _differing(first: pd.Series, other: pd.Series, column: str) -> str:
    """The parts of ``text: ... | bytes: ... | layout: ...`` that are not the same."""
    if column not in first or pd.isna(first[column]) or pd.isna(other[column]):
        return ""
    pairs = zip(str(first[column]).split(" | "), str(other[column]).split(" | "), strict=False)
    return "; ".join(f"{one} against {two.partition(': ')[2]}" for one, two in pairs if one != two)


def _shared(rows: pd.DataFrame) -> list[str]:
    """Metrics that all runs have and that were measured on one text."""
    known = [str(name) for name in rows.columns if str(name).startswith("bpb_")]
    return [
        name
        for name in known
        if rows[name].notna().all()
        and evaluation_column(name) in rows
        and rows[evaluation_column(name)].nunique(dropna=False) == 1
    ]


def evaluation_column(metric: str) -> str:
    """The column that holds the fingerprint of what ``metric`` was measured on."""
    raw = metric.removeprefix(EMA)
    stream = raw.removeprefix("bpb_")
    return "evaluation_fingerprint" if raw == "val_bpb" else f"evaluation_fingerprint_{stream}"


def _check_text(rows: pd.DataFrame) -> None:
    """Refuse runs that asked for the same rows in the same order and were given other text."""
    if not {"pair_key", "text_digest"} <= set(rows.columns):
        return
    for _, alike in rows[rows["text_digest"].notna()].groupby("pair_key"):
        for first, other in _disagreeing(alike, "text_digest"):
            commits = [_show(row, "dataset_commit") for row in (first, other) if "dataset_commit" in row]
            raise SweepkitError(
                f"text_digest differs between {first['run_id']} and {other['run_id']} (dataset_commit "
                f"{' against '.join(commits)}), but must be one for runs of one dataset: its repository has "
                "changed between two machines' downloads; set dataset.revision to one of the commits in the "
                "sweep's base and run it under a new name"
            )


def accepted(rows: pd.DataFrame) -> str | None:
    """A sentence on results that were taken from other code with --accept-code; None where there are none."""
    if "accepted_by" not in rows or not rows["accepted_by"].notna().any():
        return None
    taken = rows[rows["accepted_by"].notna()]
    others = ", ".join(sorted(set(taken["sources"].dropna())))
    return (
        f"{taken['run_id'].nunique()} of {rows['run_id'].nunique()} runs were made by other code (sources "
        f"{others}) and taken with --accept-code for {', '.join(sorted(set(taken['accepted_by'])))}"
    )


def shared_sources(rows: pd.DataFrame) -> set[str]:
    """Digests of code that made every run, or took it with --accept-code; ``""`` where a run does not say."""
    if rows.empty:
        return set()
    both = rows.reindex(columns=["sources", "accepted_by"]).astype("string").fillna("").drop_duplicates()
    return set.intersection(
        *({made, *filter(None, taken.split(", "))} for made, taken in both.itertuples(index=False))
    )


def _other_sources(rows: pd.DataFrame) -> _Mixture | None:
    """Runs that other code made, unless somebody has accepted them for the code of the others."""
    if "code" in rows and rows["code"].nunique(dropna=False) > 1:  # a level differs by its code
        alike = (same for _, same in rows.groupby("code", dropna=False))
        return next((found for same in alike if (found := _other_sources(same))), None)
    if shared_sources(rows):
        return None
    for first, other in _disagreeing(rows, "sources"):
        one, two = _show(first, "sources"), _show(other, "sources")
        return _Mixture(
            f"code {one} against {two}",
            f"sources is {one} for {first['run_id']} and {two} for "
            f"{other['run_id']}, but must be one for all runs compared: code that computes was edited "
            "between them; run the same command with --rerun (old records are kept aside) or --accept-code "
            "(the records say so), or say that mixing is fine with --allow-mixed-environments",
        )
    return None


def _other_environment(rows: pd.DataFrame) -> _Mixture | None:
    known = [name for name in _PARTS if name in rows]
    if (
        known
        and len(rows)
        and ("environment_fingerprint" not in rows or rows["environment_fingerprint"].isna().all())
    ):
        # a table of somebody else's: what it says of the environment is its fingerprint
        parts_said = rows[known].astype("string").fillna("missing").agg(", ".join, axis=1)
        rows = rows.assign(environment_fingerprint=parts_said)
    within = [name for name in known if name in _OWN and _differs_within_a_variant(rows, name)]
    for first, other in _disagreeing(rows, "environment_fingerprint"):
        parts = [name for name in known if _show(first, name) != _show(other, name)]
        if "dtype" in parts and set(parts) <= set(_OWN) - set(within):
            continue
        what = "; ".join(f"{name} {_show(first, name)} against {_show(other, name)}" for name in parts)
        what = what or "in a part that this table does not have"
        return _Mixture(
            what,
            f"environment_fingerprint differs between {first['run_id']} and {other['run_id']} "
            f"({what}), but must be one for all runs compared; "
            "go on with the launcher and machine that the first runs had (delete the run folders of one of "
            "the two and run the sweep again), or say that mixing is fine with --allow-mixed-environments",
        )
    return None


def _differs_within_a_variant(rows: pd.DataFrame, column: str) -> bool:
    return bool((rows.groupby("variant")[column].nunique(dropna=False) > 1).any())


def _disagreeing(rows: pd.DataFrame, column: str) -> list[tuple[pd.Series, pd.Series]]:
    """The first row, with the first row of every other value in ``column``; empty when all agree."""
    if column not in rows or rows.empty:
        return []
    firsts = rows.drop_duplicates(subset=[column])
    return [(firsts.iloc[0], firsts.iloc[index]) for index in range(1, len(firsts))]


def _show(row: pd.Series, name: str) -> str:
    value = row[name]
    return "missing" if pd.isna(value) else str(value)
