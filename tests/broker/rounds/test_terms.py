from dataclasses import replace

import pytest

from fedling_broker.rounds.terms import Terms, misfit
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.messages import Update

TERMS = Terms(7, b"model", Codec.RAW_INT16, 100, 6)
UPDATE = Update(b"plan", 7, b"model", 100, Codec.RAW_INT16, b"vector", 0, 1)


def test_an_update_as_the_plan_asked_fits() -> None:
    assert misfit(TERMS, UPDATE) == ""


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        (replace(UPDATE, base_version=6), "base"),
        (replace(UPDATE, base_hash=b"other"), "base"),
        (replace(UPDATE, codec="other"), "codec"),  # type: ignore[arg-type]  # there is one so far
        (replace(UPDATE, weight=101), "weight"),
        (replace(UPDATE, vector=b"vecto"), "shape"),
        (replace(UPDATE, vector=b"vector "), "shape"),
    ],
)
def test_what_does_not_fit_is_named(changed: Update, word: str) -> None:
    assert misfit(TERMS, changed) == word
