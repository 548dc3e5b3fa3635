"""What each device has done, as `device list` tells it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fedling_broker.store.rounds import Part
from fedling_broker.store.store import Store
from fedling_protocol.wire.identity import device_id
from fedling_protocol.wire.messages import Verdict
from tests.support.rounds_on_disk import KEYS, accept, make_store, open_round, run_round

A, B, C = (device_id(key.public) for key in KEYS)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = make_store(tmp_path / "state")
    yield store
    store.close()


def test_nobody_did_anything(store: Store) -> None:
    assert store.rounds.parts() == []


def test_what_each_did_last_and_what_it_does(store: Store) -> None:
    run_round(store, 1)
    plan = open_round(store, 2)
    accepted = accept(store, plan, 0, 100, 77)
    refused = replace(accepted, device=B, verdict=Verdict.REFUSED, reason="saturated", weight=0)
    store.rounds.decide("tiny", plan.plan_id, refused)
    store.rounds.grant("tiny", plan.plan_id, C, 9000, None)
    assert {part.device: part for part in store.rounds.parts()} == {
        A: Part(A, "tiny", 2, 0, 2, 77, has_place=0),
        B: Part(B, "tiny", 1, 1, 2, 11, has_place=0),
        C: Part(C, "tiny", 1, 0, 2, 12, has_place=1),
    }


def test_a_device_that_was_answered_never_has_a_place_only(store: Store) -> None:
    plan = open_round(store, 1)
    store.rounds.grant("tiny", plan.plan_id, C, 9000, None)
    assert store.rounds.parts() == [Part(C, "tiny", 0, 0, 1, None, has_place=1)]
