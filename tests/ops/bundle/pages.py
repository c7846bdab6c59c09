"""A page as a reader's program sees it."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

VOID = {"meta", "br", "img", "link", "input", "hr"}
DRAWN = {"rect", "path", "line", "circle"}


class Page(HTMLParser):
    """Elements, attributes, text, links and counted numbers of a page; every element must be closed in its turn."""

    def __init__(self) -> None:
        """Nothing yet."""
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: dict[str, set[str]] = {}
        self.facts: dict[str, set[int]] = {}
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.id_count = 0
        self.headings: list[int] = []
        self.text = ""
        self._open: list[str] = []

    @classmethod
    def of(cls, path: Path) -> Self:
        """Read a file."""
        page = cls()
        page.feed(path.read_text(encoding="utf-8"))
        page.close()
        assert page._open == [], page._open
        return page

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element begins."""
        self.tags.add(tag)
        if tag not in VOID:
            self._open.append(tag)
        self._take(tag, attrs)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element of a drawing, which ends itself."""
        assert tag in DRAWN, tag
        self.tags.add(tag)
        self._take(tag, attrs)

    def _take(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        for name, value in given.items():
            self.attributes.setdefault(name, set()).add(value)
        if "data-fact" in given:
            self.facts.setdefault(given["data-fact"], set()).add(int(given["value"]))
        self.links += [given[name] for name in ("href", "src", "action", "data") if name in given]
        if "id" in given:
            self.ids.add(given["id"])
            self.id_count += 1
        if tag in {"h1", "h2", "h3", "h4"}:
            self.headings.append(int(tag[1]))

    def handle_endtag(self, tag: str) -> None:
        """An element ends."""
        assert self._open, tag
        assert self._open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        """Text."""
        self.text += data
