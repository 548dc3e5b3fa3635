"""What a runner makes of a training that has finished."""

import pytest

from fedling_agent.service.runner import update_of
from fedling_agent.training.job import Result
from fedling_native import dense
from fedling_protocol.wire import codecs
from fedling_protocol.wire.codecs import Codec
from tests.support.aggregator import make_model, make_plan

LAYERS = (dense(4, 2),)
PLAN = make_plan(make_model(LAYERS), 3)
VECTOR = bytes(range(24))


def test_update_says_what_its_plan_asked_for() -> None:
    update = update_of(PLAN, Result(VECTOR, 2, 30))
    assert (update.plan_id, update.base_hash) == (PLAN.plan_id, PLAN.base_hash)
    assert (update.codec, update.vector, update.saturated) == (PLAN.codec, VECTOR, 2)
    assert update.weight == 30


def test_update_weighs_no_more_than_the_cap() -> None:
    cap = PLAN.training.weight_cap
    assert update_of(PLAN, Result(VECTOR, 0, cap + 1)).weight == cap


def test_update_carries_the_encoded_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "_ENCODE", {Codec.RAW_INT16: lambda vector: vector[::-1]})
    assert update_of(PLAN, Result(VECTOR, 0, 30)).vector == VECTOR[::-1]
