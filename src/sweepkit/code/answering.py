"""``python -m sweepkit.code.answering``: a tree answers what its configurations and plans are.

A line of JSON is a question, ``{"compose": [overrides]}`` or ``{"build": configuration}``; the answer is the
configuration or the plan, or the error in words. It ends with its input.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from typing import Any

from sweepkit import errors
from sweepkit.config import compose, typed
from sweepkit.config.schema import RunConfig
from sweepkit.plan import build

#: Kinds of errors that the user can settle, which whoever asked raises again.
KINDS = (errors.ConfigError, errors.DataError, errors.StorageError, errors.SweepkitError)


def main() -> int:
    """Answer until nothing more is asked; what else is printed goes to the errors."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.simplefilter("ignore", errors.Notice)  # the user was told by the process that asks
    for line in sys.stdin:
        out.write(f"\n{json.dumps(answer(json.loads(line)))}\n")  # behind what was printed without an end
        out.flush()
    return 0


def answer(question: dict[str, Any]) -> dict[str, Any]:
    """What a question's answer is."""
    try:
        if "compose" in question:
            return {"answer": typed.dump(compose.compose(question["compose"]))}
        return {"answer": typed.dump(build.build(typed.load(RunConfig, question["build"])))}
    except KINDS as error:
        kind = next(kind for kind in KINDS if isinstance(error, kind))
        return {"error": str(error), "kind": kind.__name__}


if __name__ == "__main__":
    sys.exit(main())
