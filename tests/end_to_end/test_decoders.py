"""Hostile bytes for every decoder in Python: refused in its own words, or read; nothing else."""

import pytest

from tests.support.fuzz import decoders
from tests.support.fuzz.decoders import DECODERS, Decoder, fuzz
from tests.support.fuzz.run import Fault

SAMPLE, LONG = 400, 40_000


@pytest.fixture(params=DECODERS, ids=[decoder.name for decoder in DECODERS])
def decoder(request: pytest.FixtureRequest) -> Decoder:
    found = request.param
    assert isinstance(found, Decoder)
    return found


def test_no_bytes_are_a_fault_and_many_are_past_the_first_look(decoder: Decoder) -> None:
    tally = fuzz(decoder, 1, SAMPLE)
    assert tally.executions == SAMPLE
    assert tally.past > SAMPLE / 5


@pytest.mark.long
def test_many_bytes_are_no_fault(decoder: Decoder) -> None:
    assert fuzz(decoder, 1000, LONG).past > LONG / 5


def test_the_same_seed_is_the_same_run(decoder: Decoder) -> None:
    assert fuzz(decoder, 7, 50) == fuzz(decoder, 7, 50)


def test_shares_are_of_a_thousand() -> None:
    assert sum(decoder.share for decoder in DECODERS) == 1000


def test_a_fault_is_found_and_named_by_its_seed() -> None:
    def fails(_case: object) -> bool:
        raise KeyError("planted")

    broken = Decoder("broken", 0, lambda dice: dice.randbytes(1), lambda: fails)
    with pytest.raises(Fault, match="broken: seed 3, case 0"):
        fuzz(broken, 3, 1)


def test_memory_beyond_a_few_times_the_case_is_a_fault() -> None:
    def hoards(_case: object) -> bool:
        return len(bytes(decoders.MOST_BYTES * 2)) > 0

    broken = Decoder("hoarder", 0, lambda dice: dice.randbytes(1), lambda: hoards)
    with pytest.raises(Fault):
        fuzz(broken, 1, 1)
