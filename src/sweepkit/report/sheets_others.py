"""What tables of others come to: groups against a bar, and the tries of a ledger."""

from __future__ import annotations

from sweepkit.promotion.target import AgainstTarget
from sweepkit.promotion.tries import Ledger
from sweepkit.promotion.verdict_record import Outcome
from sweepkit.report import numbers
from sweepkit.report.sheet import Mark, Sheet

_SAID = {Outcome.promote: "better", Outcome.reject: "not better", Outcome.inconclusive: "not shown"}
_MOST = 60


def _p(value: float | None) -> str:
    return numbers.MISSING if value is None else f"{value:.2g}"


def against(found: AgainstTarget) -> Sheet:
    """One line a group: its runs, how far it is from the bar, and what that shows."""
    rule = found.decision
    headers = ("group", ">runs", f">{rule.metric} ± SD", ">margin·√n", ">p alone", ">p corrected", "verdict")
    # the verdict tells of p alone, and of many groups p corrected is the one that counts
    sheet = Sheet(headers, optional=("margin·√n", "p alone"))
    for group in found.groups:
        item = group.found
        word = Mark(_SAID[group.outcome], group.outcome.value)
        lost = f" ({group.lost})" if group.lost else ""
        if item is None:
            sheet.add(group.name, "0" + lost, *[numbers.MISSING] * 4, word)
            continue
        spread = "" if item.sd is None else f" ± {item.sd:.5f}"
        mean = numbers.bpb(rule.sign * item.mean) + spread
        margin = numbers.change(item.margin)
        sheet.add(group.name, f"{item.n}{lost}", mean, margin, _p(item.p), _p(item.p_corrected), word)
    sheet.notes.append(f"better: p alone ≤ α = {rule.alpha:g}; margin: how far the mean is on the good side")
    return sheet


def tries(ledger: Ledger) -> Sheet:
    """One line a try that was kept."""
    rule = ledger.decision
    sheet = Sheet((">row", "kept", f">{rule.metric}", ">gain", ">p corrected", "more than noise?"))
    alpha = rule.alpha
    for item in [item for item in ledger.tries if item.is_kept][:_MOST]:
        loss = numbers.MISSING if item.loss is None else numbers.bpb(rule.sign * item.loss)
        if item.gain is None:
            said = Mark("where it begins" if item.best is None else "no loss")
        elif item.p_corrected is None:
            said = Mark("not known")
        else:
            said = Mark("yes", "promote") if item.p_corrected <= alpha else Mark("not shown", "inconclusive")
        gain = numbers.change(item.gain)
        sheet.add(str(item.place + 1), item.name, loss, gain, _p(item.p_corrected), said)
    return sheet
