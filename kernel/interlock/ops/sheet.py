"""What all pages for people share: one file each, safe text, numbers, and the house's style sheet.

A page needs nothing from elsewhere, so it opens on any machine and still does in ten years. Whatever stands in it
is escaped, whoever wrote it.
"""

from __future__ import annotations

import html
import unicodedata
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["document", "escape", "number", "style"]


def escape(text: str) -> str:
    """Text as a page may show it: no mark-up, and no character that is not seen but changes what is."""
    seen = (c if unicodedata.category(c)[0] != "C" else c.encode("unicode_escape").decode() for c in text)
    return html.escape("".join(seen))


def style(package: str, name: str) -> str:
    """A style sheet of ours."""
    return resources.files(package).joinpath(name).read_text(encoding="utf-8")


def document(title: str, styles: Iterable[str], parts: Iterable[str]) -> str:
    """A whole page.

    Args:
        title: its title, as text.
        styles: style sheets; the house's stands before them.
        parts: its body, as mark-up.
    """
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            "<style>",
            style("interlock.ops", "sheet.css"),
            *styles,
            "</style>",
            "</head>",
            "<body>",
            *parts,
            "</body>",
            "</html>",
            "",
        ]
    )


def number(value: int) -> str:
    """With thin spaces between thousands."""
    return f"{value:,}".replace(",", "\u202f")
