"""A bundle is made: collected and computed beside where it is to be, and put there whole or not at all."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import orjson

from interlock.breaker.files import sync_directory
from interlock.ops.bundle import pdf
from interlock.ops.bundle.collect import collect, size_of
from interlock.ops.bundle.derive import PASSES, REPORT, derive
from interlock.ops.bundle.given import request_of
from interlock.ops.bundle.tree import BundleError, Folder, digest, pack
from interlock.ops.drill.stage import within_a_home

if TYPE_CHECKING:
    from collections.abc import Callable

    from interlock.ops.bundle.plan import Plan
    from interlock.ops.bundle.progress import Step
    from interlock.ops.bundle.told import Told

__all__ = ["ARCHIVE", "MANIFEST", "PDF", "Built", "build"]

MANIFEST: Final = "manifest.json"
PDF: Final = "report.pdf"
ARCHIVE: Final = ".zip"
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS})
"""What a file system says that knows no second names, as that of a memory stick."""


@attrs.frozen(kw_only=True)
class Built:
    """A bundle that was made.

    Attributes:
        told: what it says.
        manifest: its manifest.
        manifest_sha256: the hash to keep by another way.
    """

    told: Told
    manifest: dict[str, Any]
    manifest_sha256: str


def build(plan: Plan, step: Step) -> Built:
    """Make a bundle.

    Args:
        plan: what is asked for.
        step: told what is being done.

    Raises:
        BundleError: there is something at the path already, it lies in a home, or the PDF can't be made.
        HomeError: there is no home.
        OSError: it can't be read or written.
    """
    _free(plan)
    if plan.pdf:
        pdf.require()
    size = size_of(plan)
    place = plan.out.absolute().parent
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{plan.out.name}.", dir=place))
    try:
        folder = Folder(work / "bundle")
        folder.path.mkdir(mode=0o700)
        collect(plan, folder, step("collecting", size))
        told = derive(folder, folder, step("computing", PASSES * size))
        if plan.pdf:
            folder.write(PDF, pdf.render(folder.read(REPORT).decode()))
        manifest = _manifest(folder, step("hashing", size))
        data = orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n"
        folder.write(MANIFEST, data)
        made = folder.path
        if plan.out.suffix == ARCHIVE:
            made = work / plan.out.name
            pack(folder, made, step("packing", size))
        _place(made, plan.out)
        sync_directory(place)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Built(told=told, manifest=manifest, manifest_sha256=sha256(data).hexdigest())


def _free(plan: Plan) -> None:
    """Nothing may be where the bundle is to be, and it may not lie within a home.

    Raises:
        BundleError: it is so.
    """
    if os.path.lexists(plan.out):
        message = f"{plan.out}: there is something here already; a bundle is written over nothing"
        raise BundleError(message)
    home = within_a_home(plan.out)
    if home is not None:
        message = f"{plan.out}: {home} is a home; a bundle is kept outside of it"
        raise BundleError(message)


def _place(made: Path, out: Path) -> None:
    """Put it there, durably, and over nothing that came meanwhile."""
    for path in [made, *made.rglob("*")] if made.is_dir() else [made]:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    if made.is_dir():
        made.rename(out)  # over an empty directory at most
        return
    try:
        os.link(made, out)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with out.open("xb"):  # it is taken now, by us
            made.rename(out)


def _manifest(folder: Folder, progress: Callable[[int], None]) -> dict[str, Any]:
    files = {}
    for name in folder.names():
        files[name] = digest(folder, name)
        progress(files[name]["size"])
    request = request_of(folder)
    tools = {**request["tools"], **({"weasyprint": pdf.version()} if PDF in files else {})}
    return {**request, "tools": tools, "files": files}
