"""How often runs that are planned will see their text; once a run has ended, its record says it.

It is told of the plan where the table is made, and not kept in an index: it becomes exact when this
machine's cache has the text.
"""

from __future__ import annotations

import json
from functools import cache

from sweepkit import fsio
from sweepkit.config import typed
from sweepkit.config.schema import RunConfig
from sweepkit.errors import SweepkitError
from sweepkit.plan import epochs
from sweepkit.plan.run_plan import RunPlan
from sweepkit.results.columns import Row

_BLOCKS = ("dataset", "tokenizer", "packing")


def text_of(plan: RunPlan) -> str:
    """All that the tokens of an epoch follow from; equal for runs on the same text."""
    read = {name: typed.dump(getattr(plan.config, name)) for name in _BLOCKS}
    return fsio.canonical_json([read, plan.sequence_len, plan.texts])


def fill(rows: list[Row], key: str, state: str) -> None:
    """Take ``text_of`` out of every row, and give epochs to those in a state, where their text is known.

    Args:
        key: under which it stands.
        state: of runs that have measured none.
    """

    @cache
    def per_token(text: str) -> float | None:
        try:
            read, sequence_len, texts = json.loads(text)
            config = typed.load(RunConfig, read | {"horizon": {"sequence_len": sequence_len}})
            found = epochs.of_text(1, config, texts)
        except SweepkitError:  # own text that is not here, or a plan of another version
            return None
        return None if found is None else found.number

    for row in rows:
        text, tokens = row.pop(key, None), row.get("total_tokens")
        if text and tokens and row.get("state") == state and (each := per_token(text)) is not None:
            row.setdefault("epochs", each * tokens)
