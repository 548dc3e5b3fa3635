"""How a model comes: whole, packed, or as a change of the one that is here."""

from array import array
from dataclasses import replace

import pytest

from fedling_agent.conditions.condition import LONGEST_LEASE_S
from fedling_native import parameter_counts
from fedling_native.integers import write_integers
from fedling_protocol.wire.chunks import Whole
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Change, Model, Recent, Rest
from fedling_sim.world import Weather
from tests.support.device import SPEC, hash_of, make_model
from tests.support.service import TOPICS, HandService

EMPTY = Weather(mains=False, battery=5, temperature=40, network=True)
WEIGHTS, BIASES = parameter_counts(SPEC.layers)


def topic(kind: Kind, version: int) -> str:
    return TOPICS.of(kind, "watch", version)


def on_grid(version: int, steps: int, exponent: int = -7) -> Model:
    """Weights of so many steps, biases of none."""
    weights = array("h", [256 * steps + 128] * WEIGHTS).tobytes() + bytes(4 * BIASES)
    exponents = tuple(exponent if layer.weight_count else 0 for layer in SPEC.layers)
    return Model(version, SPEC, exponents, weights)


def change_to(model: Model, steps: int) -> Change:
    """Each weight goes by so many steps."""
    values = array("i", [steps] * WEIGHTS + [0] * BIASES)
    return Change(model.version, model.exponents, write_integers(values))


def rest(model: Model, change_size: int | None = None, recent: Recent | None = None) -> Rest:
    return Rest(
        model.version, hash_of(model), SPEC, 1000, 600, change_size=change_size, recent=recent
    )


def named(
    device: HandService,
    model: Model,
    change_size: int | None = None,
    recent: Recent | None = None,
) -> None:
    device.hear(TOPICS.of(Kind.PLAN, "watch", "train"), rest(model, change_size, recent))


def holds(device: HandService, model: Model) -> bool:
    found = device.store.models.find(hash_of(model))
    return found is not None and found.path.read_bytes() == model.weights


def with_first(device: HandService) -> Model:
    """A device that has the first model."""
    first = on_grid(1, 3)
    named(device, first)
    device.hear(topic(Kind.MODEL, 1), first)
    assert holds(device, first)
    return first


def test_change_of_the_model_that_is_here_is_asked_for(device: HandService) -> None:
    with_first(device)
    second = on_grid(2, 5)
    named(device, second, 40)
    assert topic(Kind.CHANGE, 2) in device.link.subscribed
    assert topic(Kind.MODEL, 2) not in device.link.subscribed
    device.hear(topic(Kind.CHANGE, 2), change_to(second, 2))
    assert holds(device, second)
    assert topic(Kind.CHANGE, 2) not in device.link.subscribed
    assert device.runner.session.fetch is None


def test_change_over_an_exponent_that_moved(device: HandService) -> None:
    """What is held shrinks first: 3 steps become 1.5, rounded up to 2."""
    with_first(device)
    second = on_grid(2, 7, exponent=-6)
    named(device, second, 40)
    device.hear(topic(Kind.CHANGE, 2), change_to(second, 5))
    assert holds(device, second)


@pytest.mark.parametrize("steps", [write_integers(array("i", [3] * (WEIGHTS + BIASES))), b"junk"])
def test_change_of_no_use_has_the_whole_model_asked_for(device: HandService, steps: bytes) -> None:
    with_first(device)
    second = on_grid(2, 5)
    named(device, second, 40)
    device.hear(topic(Kind.CHANGE, 2), replace(change_to(second, 2), steps=steps))
    assert not holds(device, second)
    assert device.service.books.counters()["models of no use"] == 1
    assert topic(Kind.MODEL, 2) in device.link.subscribed
    device.hear(topic(Kind.MODEL, 2), second)
    assert holds(device, second)


def test_device_with_a_damaged_model_heals(device: HandService) -> None:
    first = with_first(device)
    found = device.store.models.find(hash_of(first))
    assert found is not None
    found.path.write_bytes(bytes(len(first.weights)))
    second = on_grid(2, 5)
    named(device, second, 40)
    device.hear(topic(Kind.CHANGE, 2), change_to(second, 2))
    assert topic(Kind.MODEL, 2) in device.link.subscribed
    device.hear(topic(Kind.MODEL, 2), second)
    assert holds(device, second)


def test_who_was_away_for_longer_takes_the_whole_model(device: HandService) -> None:
    with_first(device)
    named(device, on_grid(3, 6), 40)
    assert topic(Kind.MODEL, 3) in device.link.subscribed
    assert topic(Kind.CHANGE, 3) not in device.link.subscribed


def test_who_was_away_for_some_rounds_takes_their_changes(device: HandService) -> None:
    """In whatever order they come, and one of them twice."""
    with_first(device)
    to = {version: on_grid(version, 3 + version) for version in (2, 3, 4)}
    named(device, to[4], 40, Recent(3, 900))
    wanted = {topic(Kind.CHANGE, version) for version in to}
    assert wanted <= set(device.link.subscribed)
    assert topic(Kind.MODEL, 4) not in device.link.subscribed
    steps = {2: 2, 3: 1, 4: 1}
    for version in (4, 2, 4):
        device.hear(topic(Kind.CHANGE, version), change_to(to[version], steps[version]))
        assert device.runner.session.fetch is not None
    device.hear(topic(Kind.CHANGE, 3), change_to(to[3], steps[3]))
    assert holds(device, to[4])
    assert not wanted & set(device.link.subscribed)
    assert device.runner.session.fetch is None
    assert "refused: shape" not in device.service.books.counters()


@pytest.mark.parametrize(
    ("held", "recent", "asked"),
    [
        (1, 3, {2, 3, 4}),
        (2, 3, {3, 4}),
        (3, 3, {4}),
        (1, 2, set()),
        (1, None, set()),
        (4, 3, set()),
        (5, 3, set()),
    ],
)
def test_changes_are_asked_for_if_all_are_there(
    device: HandService, held: int, recent: int | None, asked: set[int]
) -> None:
    """4 is the newest, of other weights than what the device calls 4."""
    first = on_grid(held, 3)
    named(device, first)
    device.hear(topic(Kind.MODEL, held), first)
    epoch_later = rest(on_grid(4, 9), 40, None if recent is None else Recent(recent, 900))
    device.hear(TOPICS.of(Kind.PLAN, "watch", "train"), replace(epoch_later, epoch=1))
    subscribed = set(device.link.subscribed)
    assert {v for v in range(1, 6) if topic(Kind.CHANGE, v) in subscribed} == asked
    assert (topic(Kind.MODEL, 4) in subscribed) == (not asked)


def test_changes_of_no_use_have_the_whole_model_asked_for(device: HandService) -> None:
    with_first(device)
    third = on_grid(3, 7)
    named(device, third, 40, Recent(2, 900))
    device.hear(topic(Kind.CHANGE, 2), replace(change_to(on_grid(2, 5), 2), steps=b"junk"))
    device.hear(topic(Kind.CHANGE, 3), change_to(third, 2))
    assert device.service.books.counters()["models of no use"] == 1
    assert topic(Kind.MODEL, 3) in device.link.subscribed
    device.hear(topic(Kind.MODEL, 3), third)
    assert holds(device, third)


def test_changes_over_exponents_that_moved_twice(device: HandService) -> None:
    """3 steps become 2, and with one more 3, which become 2 again."""
    with_first(device)
    second, third = on_grid(2, 3, exponent=-6), on_grid(3, 7, exponent=-5)
    named(device, third, 40, Recent(2, 900))
    device.hear(topic(Kind.CHANGE, 2), change_to(second, 1))
    device.hear(topic(Kind.CHANGE, 3), change_to(third, 5))
    assert holds(device, third)


def test_changes_of_more_bytes_than_was_said_are_refused(device: HandService) -> None:
    with_first(device)
    third = on_grid(3, 7)
    named(device, third, 40, Recent(2, 99))
    for version in (2, 3):
        long = replace(change_to(on_grid(version, 5), 2), steps=bytes(60))
        device.hear(topic(Kind.CHANGE, version), long)
    assert device.service.books.counters()["refused: shape"] == 1


def test_next_round_has_what_was_waited_for_asked_for_anew(device: HandService) -> None:
    """A change that is no longer retained would never come."""
    with_first(device)
    named(device, on_grid(3, 7), 40, Recent(2, 900))
    fourth = on_grid(4, 8)
    named(device, fourth, 40, Recent(2, 900))
    assert topic(Kind.MODEL, 4) in device.link.subscribed
    assert topic(Kind.CHANGE, 2) not in device.link.subscribed


def test_changes_that_are_retained_no_more_are_not_waited_for(device: HandService) -> None:
    """The aggregator has begun anew, and says of the same model that there is one change."""
    with_first(device)
    third = on_grid(3, 7)
    named(device, third, 40, Recent(2, 900))
    named(device, third, 40)
    assert topic(Kind.CHANGE, 2) not in device.link.subscribed
    assert topic(Kind.MODEL, 3) in device.link.subscribed


def test_without_a_change_the_whole_model_is_taken(device: HandService) -> None:
    with_first(device)
    named(device, on_grid(2, 6))
    assert topic(Kind.MODEL, 2) in device.link.subscribed


def test_packed_model_is_written_out(device: HandService) -> None:
    first = on_grid(1, 3)
    named(device, first)
    values = array("i", [3] * WEIGHTS + [0] * BIASES)
    packed = replace(first, weights=write_integers(values), packed=True)
    device.hear(topic(Kind.MODEL, 1), packed)
    assert holds(device, first)


def test_packed_model_of_no_use_is_counted(device: HandService) -> None:
    named(device, on_grid(1, 3))
    device.hear(topic(Kind.MODEL, 1), replace(on_grid(1, 3), weights=b"junk", packed=True))
    assert device.service.books.counters()["models of no use"] == 1


def test_change_that_nobody_asked_for_is_refused(device: HandService) -> None:
    with_first(device)
    device.hear(topic(Kind.CHANGE, 2), change_to(on_grid(2, 5), 2))
    assert device.service.books.counters()["refused: shape"] == 1


def test_model_that_is_not_on_the_grid_comes_as_it_is(device: HandService) -> None:
    model = make_model()
    named(device, model)
    device.hear(topic(Kind.MODEL, model.version), model)
    assert holds(device, model)


def test_change_of_no_use_to_a_version_that_is_over_asks_for_nothing(device: HandService) -> None:
    """While it was read, the next version was named."""
    with_first(device)
    named(device, on_grid(2, 5), 40)
    device.disk.waits = True
    device.hear(topic(Kind.CHANGE, 2), change_to(on_grid(2, 5), 1))
    named(device, on_grid(3, 6), 40)
    device.disk.waits = False
    device.disk.go()
    device.clock.settle()
    assert device.service.books.counters()["models of no use"] == 1
    assert topic(Kind.MODEL, 2) not in device.link.subscribed
    assert topic(Kind.MODEL, 3) in device.link.subscribed


def lose(device: HandService) -> None:
    """The link is lost, and with it what was subscribed."""
    device.link.connected = False
    device.service.on_disconnected("lost", 1.0)
    device.clock.settle()
    device.link.subscribed.clear()


def away(device: HandService, model: Model, recent: Recent | None) -> None:
    """The link is lost for a while; then the same model is said again."""
    lose(device)
    device.connect()
    named(device, model, 40, recent)


def test_what_was_asked_for_before_the_link_was_lost_is_asked_for_once(device: HandService) -> None:
    """Changes may have come in the meantime: they are not waited for any more."""
    with_first(device)
    third = on_grid(3, 7)
    named(device, third, 40, Recent(2, 900))
    device.hear(topic(Kind.CHANGE, 2), change_to(on_grid(2, 5), 2))
    away(device, third, None)
    assert device.link.subscribed.count(topic(Kind.MODEL, 3)) == 1
    assert topic(Kind.CHANGE, 3) not in device.link.subscribed


@pytest.mark.parametrize("recent", [Recent(2, 900), None])
def test_nothing_is_asked_for_after_the_link_was_lost_unless_conditions_allow(
    device: HandService, recent: Recent | None
) -> None:
    with_first(device)
    third = on_grid(3, 7)
    named(device, third, 40, Recent(2, 900))
    lose(device)
    device.world.show(EMPTY)
    device.clock.move(LONGEST_LEASE_S)
    device.connect()
    named(device, third, 40, recent)
    asked = {topic(Kind.MODEL, 3), topic(Kind.CHANGE, 2), topic(Kind.CHANGE, 3)}
    assert device.runner.session.fetch is not None
    assert device.runner.session.fetch.due_ms is None
    assert not asked & set(device.link.subscribed)


def test_change_of_no_use_asks_for_nothing_that_is_forbidden_meanwhile(device: HandService) -> None:
    with_first(device)
    second = on_grid(2, 5)
    named(device, second, 40)
    device.disk.waits = True
    device.hear(topic(Kind.CHANGE, 2), change_to(second, 1))
    lose(device)
    device.link.connected = True
    device.disk.waits = False
    device.disk.go()
    device.clock.settle()
    assert device.service.books.counters()["models of no use"] == 1
    assert topic(Kind.MODEL, 2) not in device.link.subscribed


def test_changes_that_do_not_come_have_the_whole_model_asked_for(device: HandService) -> None:
    """Somebody has emptied one at the MQTT broker."""
    with_first(device)
    third = on_grid(3, 7)
    named(device, third, 40, Recent(2, 900))
    device.hear(topic(Kind.CHANGE, 3), change_to(third, 2))
    device.clock.move(device.runner.session.timing.transfer_ms / 1000 + 1)
    device.runner.look()
    device.clock.settle()
    assert topic(Kind.CHANGE, 2) not in device.link.subscribed
    named(device, third, 40, Recent(2, 900))
    assert topic(Kind.MODEL, 3) in device.link.subscribed
    assert topic(Kind.CHANGE, 2) not in device.link.subscribed
    device.hear(topic(Kind.MODEL, 3), third)
    fourth = on_grid(4, 8)
    named(device, fourth, 40, Recent(3, 900))
    assert topic(Kind.CHANGE, 4) in device.link.subscribed


def test_changes_of_no_use_are_not_fetched_again_after_a_cut(device: HandService) -> None:
    with_first(device)
    third = on_grid(3, 7)
    named(device, third, 40, Recent(2, 900))
    for version in (2, 3):
        device.hear(topic(Kind.CHANGE, version), change_to(on_grid(version, 9), 9))
    assert device.service.books.counters()["models of no use"] == 1
    away(device, third, Recent(2, 900))
    assert topic(Kind.MODEL, 3) in device.link.subscribed
    assert topic(Kind.CHANGE, 3) not in device.link.subscribed


def test_changes_of_no_use_leave_the_chunks_of_the_model(device: HandService) -> None:
    """They have come on an earlier connection."""
    with_first(device)
    second = on_grid(2, 5)
    whole = Whole(bytes(range(32)), 2_000, 1_000)
    assert device.store.chunks.missing("watch", whole) == [0, 1]
    device.store.chunks.put("watch", whole, 0, bytes(1_000))
    named(device, second, 40)
    device.hear(topic(Kind.CHANGE, 2), change_to(second, 1))
    assert device.service.books.counters()["models of no use"] == 1
    assert device.store.chunks.missing("watch", whole) == [1]


def test_version_that_is_told_is_that_of_a_model_which_is_here(device: HandService) -> None:
    with_first(device)
    third = on_grid(3, 7)
    named(device, third, 40, Recent(2, 900))
    device.hear(topic(Kind.CHANGE, 3), change_to(third, 2))
    assert device.service.runners.version == 1
    device.hear(topic(Kind.CHANGE, 2), change_to(on_grid(2, 5), 2))
    assert device.service.runners.version == 3
