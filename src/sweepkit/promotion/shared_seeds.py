"""Which runs of a table may be paired: those of one seed, if the table says that they share it.

Two rows with seed 3 are comparable one by one only when both saw the same tokens in the same order. Tables of
other projects often number their runs 0, 1, 2 and call that a seed; pairing by such an index is at best a
random pairing. So a table declares it, by a column ``seeds``, by ``--seeds`` or by ``pair_key``; undeclared
seeds are independent, which is right either way and costs power where they are shared.
"""

from __future__ import annotations

import pandas as pd

from sweepkit import errors
from sweepkit.results.columns import REFERENCE, is_reference
from sweepkit.results.record import RunState

SHARED, INDEPENDENT = "shared", "independent"
COLUMN = "seeds"
#: What a run is called that its table does not have.
ABSENT = "absent from the table"


def declared(frame: pd.DataFrame, given: str | None) -> str | None:
    """How the table's seeds are declared: by ``given``, by its column, or by ``pair_key`` (as shared).

    Raises:
        ConfigError: neither shared nor independent, or one said here and another there.
    """
    said = {str(value) for value in frame[COLUMN].dropna()} if COLUMN in frame else set()
    for value in said | ({given} if given else set()):
        if value not in (SHARED, INDEPENDENT):
            remedy = errors.did_you_mean(value, (SHARED, INDEPENDENT))
            raise errors.invalid(COLUMN, value, f"be {SHARED} or {INDEPENDENT}", remedy)
    if len(said | ({given} if given else set())) > 1:
        remedy = "say it once for the whole table"
        raise errors.invalid(COLUMN, given or sorted(said), "be one word for all rows", remedy)
    if given or said:
        return given or said.pop()
    return SHARED if "pair_key" in frame and frame["pair_key"].notna().any() else None


def numbered(frame: pd.DataFrame, said: str | None) -> pd.DataFrame:
    """The table with a column seed, which may be missing where seeds are independent: it says nothing there.

    Raises:
        ConfigError: there is no seed, and nothing says that none is shared.
    """
    if "seed" in frame or "variant" not in frame:
        return frame
    if said != INDEPENDENT:
        raise errors.invalid(
            "column",
            "seed",
            f"be in the table (it has {', '.join(map(str, frame.columns))})",
            "rename yours; a mere number of the run is none: then say --seeds independent",
        )
    groups = [name for name in ("variant", "depth") if name in frame]
    return frame.assign(seed=frame.groupby(groups, dropna=False).cumcount() + 1)


def paired(rows: pd.DataFrame, said: str | None) -> pd.DataFrame:
    """The rows with a ``pair_key`` that only runs have in common which may be paired.

    Args:
        rows: one a run, with rung, variant and seed.
        said: as ``declared`` has it.
    """
    own = rows["rung"] + " " + rows["variant"].astype("string") + " seed " + rows["seed"].astype("string")
    if said != SHARED:
        return rows.assign(pair_key=own)
    if "pair_key" in rows and rows["pair_key"].notna().any():
        return rows.assign(pair_key=rows["pair_key"].fillna(own))
    return rows


def note(said: str | None) -> list[str]:
    """What a reader has to know of an undeclared table."""
    if said is not None:
        return []
    return [
        "nothing says whether runs of one seed share their data order, so they are not paired; if they do, "
        "say --seeds shared (pairing takes out their common luck), else --seeds independent"
    ]


def absent(rows: pd.DataFrame, planned: pd.DataFrame) -> pd.DataFrame:
    """Rows for runs that a table with shared seeds leaves out without a word.

    A seed that the reference and at least half of the variants of a depth have is one that the others were to
    have; a table that drops failed runs is not to look complete.

    Args:
        rows: one a run, with rung, variant and seed, the reference called ``REFERENCE``.
        planned: variant and seed of runs that are known not to have been tried.
    """
    made = []
    for rung, group in rows.groupby("rung", sort=False):
        names = [str(name) for name in dict.fromkeys(group["variant"]) if not is_reference(str(name))]
        have = set(zip(group["variant"], group["seed"], strict=True))
        have |= set(zip(planned["variant"], planned["seed"], strict=True))
        for seed in dict.fromkeys(group.loc[group["variant"] == REFERENCE, "seed"]):
            without = [name for name in names if (name, seed) not in have]
            if 2 * len(without) <= len(names) > len(without):
                made += [{"rung": rung, "variant": name, "seed": seed} for name in without]
    if not made:
        return rows
    lost = pd.DataFrame(made).assign(state=RunState.failed.value, failure_class=ABSENT)
    if "depth" in rows:
        lost["depth"] = lost["rung"].map(rows.groupby("rung")["depth"].first())
    if "pair_key" in rows:
        keys = rows[rows["variant"] == REFERENCE].drop_duplicates(["rung", "seed"])
        lost = lost.merge(keys[["rung", "seed", "pair_key"]], on=["rung", "seed"], how="left")
    return pd.concat([rows, lost.astype({"seed": rows["seed"].dtype})], ignore_index=True)
