"""A table before it is drawn: headers and formatted cells, for the terminal and for the page alike."""

from __future__ import annotations

from dataclasses import dataclass, field

#: Text longer than this is a sentence and not a name.
_SENTENCE = 60
#: So many columns would fit a phone if names were short.
_FEW = 3


@dataclass(frozen=True)
class Mark:
    """A cell's text with a tone: a state, an outcome, ``strong`` or ``code``."""

    text: str
    tone: str = ""


Cell = str | Mark


@dataclass
class Sheet:
    """Headers (right aligned where they start with ">"), rows, and where a new group begins."""

    headers: tuple[str, ...]
    rows: list[list[Cell]] = field(default_factory=list)
    breaks: set[int] = field(default_factory=set)  # a rule is drawn above these rows
    notes: list[str] = field(default_factory=list)  # lines below the table
    optional: tuple[str, ...] = ()  # columns to leave out where there is no room, the first one first

    @property
    def kinds(self) -> list[str]:
        """Of every column: r for numbers, t for sentences, which need room on a narrow page; else nothing."""
        columns = zip(*self.rows, strict=True) if self.rows else [()] * len(self.headers)
        texts = ((it if isinstance(it, str) else it.text for it in cells) for cells in columns)
        are_long = [any(len(text) > _SENTENCE for text in column) for column in texts]
        return [
            "r" if header.startswith(">") else "t" if is_long else ""
            for header, is_long in zip(self.headers, are_long, strict=True)
        ]

    @property
    def on_a_narrow_page(self) -> str:
        """How it is shown there: row under row, each cell with its name if it needs one, or as it is."""
        if len(self.headers) <= _FEW and self.kinds.count("r") < _FEW - 1:
            return "stacked bare"
        return "stacked" if "t" in self.kinds or len(self.headers) <= _FEW else ""

    def add(self, *cells: Cell, new_group: bool = False) -> None:
        """Append a row; ``new_group`` draws a rule above it, unless it is the first.

        Raises:
            ValueError: there are not as many cells as headers. Markdown would drop what is too much.
        """
        if len(cells) != len(self.headers):
            raise ValueError(f"a row of {len(cells)} cells under {len(self.headers)} headers: {cells}")
        if new_group and self.rows:
            self.breaks.add(len(self.rows))
        self.rows.append(list(cells))
