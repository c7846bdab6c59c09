"""Codes stand in journals for years: each is its own name, and none is changed unseen."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from interlock.core.ledger import Status
from interlock.core.modes import Mode, Trigger
from interlock.core.reasons import HaltCode, Reason
from interlock.core.values import OrderType, Outcome, Side, TimeInForce

if TYPE_CHECKING:
    import enum


@pytest.mark.parametrize("codes", [Reason, HaltCode, Mode], ids=lambda codes: codes.__name__)
def test_code_is_its_name(codes: type[enum.StrEnum]) -> None:
    """What is written of a code is its name in the source, letter for letter."""
    assert [code.value for code in codes] == [code.name for code in codes]
    assert all(isinstance(code, str) and str(code) == code.name for code in codes)


@pytest.mark.parametrize(
    "words", [Side, OrderType, TimeInForce, Outcome, Trigger, Status], ids=lambda words: words.__name__
)
def test_word_is_its_name_in_small_letters(words: type[enum.Enum]) -> None:
    """What is written of a side, a type or an outcome is its name in small letters."""
    assert [word.value for word in words] == [word.name.lower() for word in words]


def test_no_code_is_lost() -> None:
    """Every code that a journal may hold is still there: taking one away, or renaming it, shows here."""
    names = "\n".join(sorted(f"{type(code).__name__}.{code}" for codes in (Reason, HaltCode) for code in codes))
    assert (len(Reason), len(HaltCode), sha256(names.encode()).hexdigest()[:16]) == (38, 21, "399886909ea06cd6")
