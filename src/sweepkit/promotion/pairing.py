"""What shared seeds would have saved a table whose runs share none.

Runs of one seed share their luck: the order of tokens and the initial weights. Pairing takes the share r of
the variance that is luck out of a difference, so that the same effect takes about 1 − r of the runs. How
large r is only shared seeds tell; so two sizes of it are worked out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from sweepkit.analysis import effects, power
from sweepkit.promotion.verdict_record import Verdict
from sweepkit.sweep.decision import DecisionRule

_SHARES = {0.5: "half", 0.9: "nine tenths"}
_UNPAIRED = (effects.ONE_WAY, effects.WELCH)


def saved(verdicts: Sequence[Verdict], rule: DecisionRule) -> list[str]:
    """A sentence on the variants of one rung that were compared unpaired; none where there are none."""
    found = [item.effect for item in verdicts if item.effect.method in _UNPAIRED and item.effect.noise_sd]
    if not found:
        return []
    worst = max(found, key=lambda item: item.noise_sd or 0.0)
    sd, num_runs = worst.noise_sd or 0.0, max(item.n for item in found)

    def needed(effect: float, share: float) -> int | None:
        noise = sd * math.sqrt(1.0 - share)
        return power.seeds_needed(noise, effect, len(verdicts), rule.alpha)

    effect, said = rule.min_effect, f"min_effect {rule.min_effect:g}"
    if effect == 0.0 or needed(effect, 0.0) is None:  # then of an effect that these runs could have shown
        level = rule.alpha / len(verdicts)
        effect = power.minimum_detectable_effect(worst.standard_error or 0.0, worst.df, level)
        said = f"an effect of {effect:.2g}"

    def runs(share: float) -> str:
        many = needed(effect, share)
        return f"about {many}" if many else f"more than {power.MAX_SEEDS}"

    shared = " and ".join(
        f"{runs(share)} if {words} of the variance is luck of the seed" for share, words in _SHARES.items()
    )
    return [
        f"nothing is paired, for no seeds are shared: to show {said} with {power.POWER:.0%} chance takes "
        f"{runs(0.0)} runs of every variant (there are {num_runs}); on shared seeds, with one data order a "
        f"seed, it would have taken {shared}"
    ]
