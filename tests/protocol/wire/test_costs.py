"""Every field has its line in the table of costs, and no message that is let in passes a bound."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import cast

import cbor2
import pytest

from fedling_native import average_pool, conv
from fedling_protocol.wire import fields as wire
from fedling_protocol.wire import shapes
from fedling_protocol.wire.costs import COSTS, FREE, Cost
from fedling_protocol.wire.fields import Record
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Plan
from fedling_protocol.wire.payload import decode, kind_of
from fedling_protocol.wire.refused import Refused
from tests.protocol.samples import MESSAGES, message
from tests.support.fuzz.seal import RECORDS, plain
from tests.support.fuzz.values import wounded

TRIES = 400
MEASURED = [cost for cost in COSTS if cost.measure is not None]


def records_of(found: wire.Wire) -> Iterator[Record]:
    """A record, and those in its fields."""
    if isinstance(found, Record):
        yield found
        for inner in found.wires.values():
            yield from records_of(inner)
    elif isinstance(found, wire.Optional | wire.Nullable):
        yield from records_of(found.wire)
    elif isinstance(found, wire.Array):
        yield from records_of(found.item)


def fields_of_all_messages() -> set[str]:
    records = [r for kind in Kind for top in kind.records for r in records_of(top)]
    return {f"{record.make.__name__}.{name}" for record in records for name in record.names}


def test_every_field_of_every_message_has_a_line() -> None:
    costly = {field for cost in COSTS for field in cost.fields}
    assert fields_of_all_messages() - costly - FREE.keys() == set(), "write down what it costs"
    assert (costly | FREE.keys()) - fields_of_all_messages() == set(), "there is no such field"
    assert costly & FREE.keys() == set()


@pytest.mark.parametrize("cost", MEASURED, ids=lambda cost: cost.what)
def test_no_message_that_is_let_in_passes_a_bound(cost: Cost) -> None:
    """Whatever is written into its fields, at their limits and beyond."""
    assert cost.measure is not None
    dice, let_in = Random(cost.what), 0
    golden = [m for name in MESSAGES if isinstance(m := message(name), cast(type, cost.of))]
    for _ in range(TRIES):
        whole = dice.choice(golden)
        hurt = wounded(RECORDS[type(whole)], plain(whole), dice)
        try:
            found = decode(kind_of(whole), cbor2.dumps(hurt))
        except Refused:
            continue
        if isinstance(found, cast(type, cost.of)):
            let_in += 1
            assert cost.measure(found) <= cost.most
    assert let_in > TRIES // 50


def test_batch_that_ran_for_half_a_minute_with_the_plug_pulled_is_refused() -> None:
    """Layers of 61 x 61 windows: nothing stopped a child in the midst of a batch of one."""
    layer = conv((60, 60, 16), 16, (61, 61), pad=(30, 30, 30, 30))
    plan = cast(Plan, message("plan"))
    spec = replace(plan.spec, window=3600, channels=16, layers=(layer, average_pool((60, 60, 16))))
    with pytest.raises(Refused, match="a batch of more than"):
        shapes.check_training(spec, replace(plan.training, batch=1, frozen=0))


def test_messages_are_of_the_kinds_that_are_measured() -> None:
    assert {kind_of(message(name)) for name in MESSAGES} == set(Kind)
