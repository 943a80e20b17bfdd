"""Marks: the facts of a configuration field that stand in its metadata, at the field."""

from __future__ import annotations

from sweepkit.config import slurm_time

#: Metadata of fields, or of whole blocks, that stay out of a run's identity: names, places, how fast.
OUTSIDE = {"identity": False}
#: Of those, the ones that can end a run without a result; they may differ from start to start.
LIMIT = {"identity": False, "limit": True}
#: Of a field that is in the identity although its block is not.
INSIDE = {"identity": True}
#: Metadata of text that changes no number: it may name environment variables (``variables.py``).
NAMES_VARIABLES = {"names_variables": True}
SHELL = {"instead_of_variables": "write $NAME in the line, which the task's shell fills in"}
#: Overrides of another composition, in which their interpolations are resolved.
HOLDS_OVERRIDES = {"holds_overrides": True}
#: Minutes, or a time as Slurm writes it.
SLURM_TIME = LIMIT | {"read": slurm_time.minutes}
#: What a loss is measured on: the text of the run's own dataset, or every text (``measured.py``).
OWN_TEXT, EVERY_TEXT = {"measured": "own"}, {"measured": "every"}
