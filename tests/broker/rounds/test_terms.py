from dataclasses import replace

import pytest

from fedling_broker.rounds.terms import Terms, misfit
from fedling_native import Sums
from fedling_protocol.wire.codecs import Codec
from fedling_protocol.wire.messages import Hits, Update
from fedling_protocol.wire.sums import pack, size

TERMS = Terms(7, b"model", Codec.RAW_INT16, 100, 6)
UPDATE = Update(b"plan", 7, b"model", 100, Codec.RAW_INT16, b"vector", 0, 1)


def test_an_update_as_the_plan_asked_fits() -> None:
    assert misfit(TERMS, UPDATE) == ""


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        (replace(UPDATE, base_version=6), "base"),
        (replace(UPDATE, base_hash=b"other"), "base"),
        (replace(UPDATE, codec="other"), "codec"),  # type: ignore[arg-type]
        (replace(UPDATE, weight=101), "weight"),
        (replace(UPDATE, vector=b"vecto"), "shape"),
        (replace(UPDATE, vector=b"vector "), "shape"),
    ],
)
def test_what_does_not_fit_is_named(changed: Update, word: str) -> None:
    assert misfit(TERMS, changed) == word


SUMS = Sums(12, (-40, 7), (900, 5))
OF_SUMS = replace(TERMS, codec=Codec.SUMS, vector_size=size(2))
COUNTED = replace(UPDATE, codec=Codec.SUMS, vector=pack(SUMS))


def test_sums_that_fit() -> None:
    assert misfit(OF_SUMS, COUNTED) == ""


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        (replace(COUNTED, codec=Codec.RAW_INT16), "codec"),
        (replace(COUNTED, weight=TERMS.weight_cap + 1), "weight"),
        (replace(COUNTED, vector=COUNTED.vector[:-1]), "shape"),
        (replace(COUNTED, vector=bytes(size(2))), "sums"),
        (replace(COUNTED, vector=pack(replace(SUMS, squares=(100, 5)))), "sums"),
    ],
)
def test_sums_that_do_not_fit(changed: Update, word: str) -> None:
    assert misfit(OF_SUMS, changed) == word


@pytest.mark.parametrize(
    ("classes", "tested", "word"),
    [
        (0, None, ""),
        (2, None, ""),
        (2, (Hits(3, 1), Hits(0, 0)), ""),
        (0, (Hits(3, 1), Hits(0, 0)), "tested"),  # nobody asked
        (1, (Hits(3, 1), Hits(0, 0)), "tested"),
        (3, (Hits(3, 1), Hits(0, 0)), "tested"),
    ],
)
def test_a_test_has_the_classes_of_a_task_that_holds_out(
    classes: int, tested: tuple[Hits, ...] | None, word: str
) -> None:
    assert misfit(replace(TERMS, classes=classes), replace(UPDATE, tested=tested)) == word
