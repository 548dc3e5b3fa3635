"""Hashes against their golden vectors, and what an order must be."""

from collections import Counter
from dataclasses import replace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_native import Layer, Loss
from fedling_protocol.wire import digest
from fedling_protocol.wire.messages import Model
from tests.protocol.make_golden import BASE, DEVICE, PLAN_ID
from tests.protocol.samples import envelope, golden, message

GOLDEN = golden("digests")
SECRET = bytes.fromhex(GOLDEN["secret"])
MODEL = cast(Model, message("model"))


def test_model_hash() -> None:
    found = digest.model_hash(MODEL.spec, MODEL.exponents, MODEL.weights)
    assert found.hex() == GOLDEN["model_hash"]
    view = memoryview(bytearray(MODEL.weights))
    assert digest.model_hash(MODEL.spec, MODEL.exponents, view) == found
    assert digest.model_hash(MODEL.spec, (-5, 0, 1), MODEL.weights) != found
    other_loss = replace(MODEL.spec, loss=Loss.RECONSTRUCTION)
    assert digest.model_hash(other_loss, MODEL.exponents, MODEL.weights) != found


def test_model_hash_has_the_scale() -> None:
    """The same weights behind another scale give other answers."""
    model = message("model-drawn")
    assert isinstance(model, Model)
    scale = model.spec.scale
    assert scale is not None
    found = digest.model_hash(model.spec, model.exponents, model.weights)
    assert found.hex() == GOLDEN["scaled_model_hash"]
    for channel, one in enumerate(scale):
        for other in (one._replace(mean=one.mean - 1), one._replace(shift=one.shift + 1)):
            changed = replace(model.spec, scale=(*scale[:channel], other, *scale[channel + 1 :]))
            assert digest.model_hash(changed, model.exponents, model.weights) != found


@pytest.mark.parametrize("place", range(14))
def test_model_hash_has_every_field_of_a_layer(place: int) -> None:
    values = list(MODEL.spec.layers[0].to_ints())
    values[place] ^= 1
    layers = (Layer.from_ints(values), *MODEL.spec.layers[1:])
    changed = digest.model_hash(replace(MODEL.spec, layers=layers), MODEL.exponents, MODEL.weights)
    assert changed.hex() != GOLDEN["model_hash"]


def test_message_hash() -> None:
    assert digest.message_hash(envelope("update")).hex() == golden("update")["message_hash"]


def test_plan_id() -> None:
    assert digest.plan_id(SECRET, "demo", "watch", 41, BASE, 2, 3).hex() == GOLDEN["plan_id"]
    assert digest.plan_id(SECRET, "demo", "watch", 41, BASE, 3, 3).hex() != GOLDEN["plan_id"]
    assert digest.plan_id(SECRET, "demo", "watch", 41, BASE, 2, 4).hex() != GOLDEN["plan_id"]


def test_codec_seed() -> None:
    assert list(digest.codec_seed(PLAN_ID, DEVICE)) == GOLDEN["codec_seed"]


def test_order_seed() -> None:
    assert digest.order_seed(SECRET, "demo", "watch", PLAN_ID).hex() == GOLDEN["order_seed"]


def test_order() -> None:
    seed = bytes.fromhex(GOLDEN["order_seed"])
    for vector in GOLDEN["orders"]:
        assert digest.order(seed, vector["epoch"], vector["count"]) == vector["order"]


@given(st.binary(min_size=32, max_size=32), st.integers(0, 999), st.integers(0, 300))
def test_order_is_a_permutation(seed: bytes, epoch: int, count: int) -> None:
    assert sorted(digest.order(seed, epoch, count)) == list(range(count))


def test_order_prefers_nobody() -> None:
    seen = Counter(tuple(digest.order(bytes(32), epoch, 4)) for epoch in range(4800))
    assert len(seen) == 24  # 200 each; a deviation of 14
    assert all(130 < times < 270 for times in seen.values())
