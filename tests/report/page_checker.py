"""A page is balanced HTML that fetches nothing."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"meta", "br", "hr", "img", "link"}


class Checker(HTMLParser):
    """Fails on unbalanced tags; collects text and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


def check(page: str) -> Checker:
    """Parse a page; it must be balanced and fetch nothing."""
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    for tag, name, value in checker.attributes:
        assert tag not in {"link", "iframe"}
        assert tag != "script" or name == "id" or (name, value) == ("type", "application/json"), (
            "inline alone"
        )
        assert not name.startswith("on")
        if name in {"href", "src", "xlink:href", "data"}:
            assert (value or "").startswith(("#", "data:image/png;base64,")), (tag, name, value)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    return checker
