"""Where the vectors are that the project did not write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

__all__ = ["SHARED", "needs_vectors"]

REPOSITORY = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("INTERLOCK_SHARED", REPOSITORY.parent / "shared")) / "vectors"
needs_vectors = pytest.mark.skipif(not SHARED.is_dir(), reason="no shared/vectors beside the repository")
