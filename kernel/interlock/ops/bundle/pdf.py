"""The report on paper: the same page, set by WeasyPrint, which comes with the extra ``pdf``.

WeasyPrint does not let the page's style sheet into drawings, nor does it know variables there. So each drawing gets the
rules for drawings by itself, with the colours put in. Nothing is fetched: an address in the page leads nowhere.
"""

from __future__ import annotations

import re
from importlib import metadata
from typing import TYPE_CHECKING, Final, cast

from interlock.ops.bundle.tree import BundleError
from interlock.ops.sheet import style

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["render", "require", "version"]

_VARIABLE: Final = re.compile(r"(--[\w-]+):\s*([^;}]+)")
_USE: Final = re.compile(r"var\((--[\w-]+)\)")
_RULE: Final = re.compile(r"svg ([^{},]+)\{([^}]*)\}")
_OPEN: Final = re.compile(r"(<svg\b[^>]*>)")


def require() -> None:
    """See that a PDF can be made, before anything else is done.

    Raises:
        BundleError: it can't.
    """
    _weasyprint()


def _weasyprint() -> ModuleType:
    try:
        import weasyprint  # noqa: PLC0415 - an extra, and slow to import
    except (ImportError, OSError) as error:  # OSError: the system's Pango is missing
        message = (
            f"no PDF can be made here ({error}): install the extra, pip install 'interlock[pdf]', and the system's "
            "Pango; or print report.html from a browser"
        )
        raise BundleError(message) from error
    return cast("ModuleType", weasyprint)


def version() -> str:
    """WeasyPrint's version."""
    return metadata.version("weasyprint")


def render(page: str) -> bytes:
    """The page as PDF."""
    weasyprint = _weasyprint()
    nothing = weasyprint.urls.URLFetcher(allowed_protocols=())
    made: bytes = weasyprint.HTML(string=_dressed(page), url_fetcher=nothing).write_pdf()
    return made


def _dressed(page: str) -> str:
    """The page with the rules for drawings inside of each drawing."""
    sheet = "\n".join((style("interlock.ops", "sheet.css"), style("interlock.ops.bundle", "report.css")))
    light = dict(_VARIABLE.findall(sheet.partition("}")[0]))
    rules = "".join(f"{where.strip()}{{{what}}}" for where, what in _RULE.findall(sheet))
    css = _USE.sub(lambda use: light[use[1]], rules)
    return _OPEN.sub(lambda match: f"{match[1]}<style>{css}</style>", page)
