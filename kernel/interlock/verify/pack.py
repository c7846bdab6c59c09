"""The verifier as one file, which a bundle can carry: ``python verify.pyz DIR ...``.

The same source makes the same bytes, on whatever machine and day, so its SHA-256 says which verifier it is. It needs
what the package needs: attrs, cryptography, orjson and zstandard.
"""

from hashlib import sha256
from io import BytesIO
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

NAME = "verify.pyz"

_PACKAGE = "interlock_verify"
_START = b"#!/usr/bin/env python3\n"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_UNIX, _MODE = 3, 0o100644 << 16
_MAIN = f"""import sys

from {_PACKAGE}.__main__ import main

if __name__ == "__main__":
    sys.exit(main())
""".encode()


def pack() -> bytes:
    """Return the bytes of the one file."""
    sources = {f"{_PACKAGE}/{path.name}": path.read_bytes() for path in Path(__file__).parent.glob("*.py")}
    made = BytesIO(_START)
    made.seek(len(_START))
    with ZipFile(made, "a", ZIP_STORED) as archive:
        for name, source in sorted({"__main__.py": _MAIN, **sources}.items()):
            entry = ZipInfo(name, _LONG_AGO)
            entry.create_system, entry.external_attr = _UNIX, _MODE
            archive.writestr(entry, source)
    return made.getvalue()


def write(directory: Path) -> tuple[Path, str]:
    """Write it into a directory; return its path and the SHA-256 of its bytes, in hex."""
    data = pack()
    path = directory / NAME
    path.write_bytes(data)
    return path, sha256(data).hexdigest()
