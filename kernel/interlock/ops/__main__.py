"""``python -m interlock.ops``: the command line, where no script was installed."""

from __future__ import annotations

from interlock.ops.cli import main

if __name__ == "__main__":
    main()
