"""Text as it is shown: what came from a file made safe, numbers with their nouns."""

from __future__ import annotations

#: Line breaks and tabs stay. Escape, and C1's one-byte forms of its sequences, would command the terminal.
_VISIBLE = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
#: Other line breaks, and what turns the direction of a line round: a name would be read as another one.
_VISIBLE |= {
    code: f"\\u{code:04x}" for code in (0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}


def printable(text: str) -> str:
    """``text`` with ``\\x1b`` for an escape, and so on; what a terminal or a table shows is what is there."""
    return text.translate(_VISIBLE)


def counted(number: int, noun: str) -> str:
    """``1 run``, ``2,000 runs``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def degrees(df: float) -> str:
    """``1 degree of freedom``, ``2.5 degrees of freedom``."""
    shown = f"{df:.3g}" if df < 1000 else f"{df:,.0f}"
    return f"{shown} degree{'' if df == 1 else 's'} of freedom"


def percent(share: float) -> str:
    """``0.21%``, ``38%``, ``100%``: two digits, and no power of ten for many."""
    shown = f"{100 * share:.2g}"
    return f"{100 * share:,.0f}%" if "e+" in shown else f"{shown}%"
