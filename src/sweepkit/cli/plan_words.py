"""What the words mean that ``sweepkit plan`` uses: a line each, below its tables."""

from __future__ import annotations

from collections.abc import Sequence

from sweepkit.report import terminal

MEANINGS = {
    "rung": "a step of the ladder, as a rule a model's depth; variants that do well on it climb to the next",
    "scaling": "parameters that tokens and batch are reckoned by (docs/methodology.md, section 3)",
    "windows": "how many tokens back each layer attends",
    "epochs": "how often a run reads its whole text",
    "MFU": "share of a device's peak FLOP/s that the model's own arithmetic reaches (launcher.plan_mfu)",
    "up, down": "steps over which rates rise at the start and fall at the end",
    "holdout": "text held back for the last rung, so that nothing is chosen by it before",
    "power": "chance that a difference of decision.min_effect is shown if it is there",
    "degrees of freedom": "how many independent differences the noise is measured by",
}
OF_A_RUN = ("scaling", "windows", "epochs", "up, down", "MFU")
OF_A_SWEEP = ("rung", "epochs", "MFU")
OF_POWER = ("holdout", "power", "degrees of freedom")


def explain(words: Sequence[str]) -> None:
    """Print the meanings of these."""
    console = terminal.console()
    console.print()
    for word in words:
        console.print(f"{word}: {MEANINGS[word]}", style="dim")
