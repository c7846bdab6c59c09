"""The measurement of verification, in its shortest form."""

from pathlib import Path

from .verifying import RECORDS_AN_ORDER, measure, sentences


def test_verification_can_be_measured(tmp_path: Path) -> None:
    """A short run measures a journal that is VERIFIED, alone and shared, and gives every figure."""
    found = measure(tmp_path, 800, rounds=1)
    assert found.records > 800 * RECORDS_AN_ORDER
    assert min(found.per_core, found.alone, found.shared, found.floor, *found.peak_kib) > 0
    assert len(sentences(found)) == 5
