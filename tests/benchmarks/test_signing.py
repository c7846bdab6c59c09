"""The measurement of signing, in its shortest form."""

from pathlib import Path

from .measure import Plan
from .signing import measure, sentences


def test_signing_can_be_measured(tmp_path: Path) -> None:
    """A short run measures submits with and without a notary, and what he signed can be believed."""
    found = measure(tmp_path / "bench", Plan(n=50, warmup=5, rounds=1))
    assert found.checkpoints > 0
    assert min(found.plain.p50_ns, found.signed.p50_ns) > 0
    assert len(sentences(found)) == 3
