"""Weather, cut cables and black holes; everything follows from the seed."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_protocol.net.ports import Will
from fedling_sim.virtual.mqtt import Limits
from fedling_sim.virtual.network import CALM, Weather
from tests.firmware_sim.virtual.ends import End, SmallWorld

STORM = Weather(0.01, 2.0, broken=0.05, lost=0.05, doubled=0.1, overtaking=0.1)
COUNT = 300


def sender_and_hearer(world: SmallWorld) -> tuple[End, End]:
    one, two = world.end("one", Will("s/one", b"gone")), world.end("two", Will("s/two", b"gone"))
    two.link.subscribe(["x", "s/+"])
    world.run(60)
    return one, two


def send_many(world: SmallWorld, one: End, seconds: float = 0.0) -> list[bytes]:
    """COUNT messages, so many seconds apart; those that have a PUBACK."""
    done: list[bytes] = []
    for number in range(COUNT):
        payload = b"%d" % number
        one.link.publish("x", payload, done=lambda payload=payload: done.append(payload))  # type: ignore[misc]
        world.run(seconds)
    world.run(3600)
    return done


ALL = [b"%d" % number for number in range(COUNT)]


def test_jitter_keeps_the_order_of_a_connection() -> None:
    world = SmallWorld(CALM)
    one, two = sender_and_hearer(world)
    world.network.weather = Weather(0.01, jitter_s=2.0)
    assert send_many(world, one, 0.01) == ALL
    assert two.payloads == ALL


@pytest.mark.parametrize(
    ("weather", "what"),
    [
        (Weather(0.01, 2.0, overtaking=0.2), lambda heard: sorted(heard, key=int) == ALL != heard),
        (Weather(0.01, lost=0.2), lambda heard: 200 < len(heard) < 280 and sorted(set(heard))),
        (Weather(0.01, doubled=0.2), lambda heard: len(heard) > 320 and set(heard) == set(ALL)),
    ],
)
def test_weather_does_what_it_says(weather: Weather, what: Callable[[list[bytes]], object]) -> None:
    world = SmallWorld()
    one, two = sender_and_hearer(world)
    world.network.weather = weather
    assert send_many(world, one) == ALL or weather.overtaking
    assert what(two.payloads)


def test_broken_connection_loses_the_end_of_what_was_sent() -> None:
    """In order, each at most once; what has its PUBACK was with the broker."""
    world = SmallWorld()
    one, two = sender_and_hearer(world)
    world.network.weather = Weather(0.5, 1.0, broken=0.02)
    done = send_many(world, one, 5.0)
    numbers = [int(payload) for payload in two.payloads if payload != b"gone"]
    assert numbers == sorted(set(numbers))
    assert 0 < len(numbers) < COUNT
    assert "the connection was lost" in one.heard.events
    assert one.heard.events.count("connected") > 1
    assert 0 < len(done) < COUNT


def play(seed: int) -> object:
    world = SmallWorld(STORM, seed=seed)
    one, two = sender_and_hearer(world)
    done = send_many(world, one, 0.3)
    return done, two.heard.messages, two.heard.events, one.heard.events, world.clock.events


def test_everything_follows_from_the_seed() -> None:
    assert play(1) == play(1)
    assert play(1) != play(2)


@given(st.integers(0, 10**9), st.sampled_from([None, 5]))
def test_after_a_storm_everything_works(seed: int, queue: int | None) -> None:
    world = SmallWorld(STORM, Limits(queue=queue, in_flight=2), seed)
    one, two = sender_and_hearer(world)
    for number in range(30):
        one.link.publish("x", b"%d" % number)
        world.run(0.2)
    world.network.weather = CALM
    world.run(200)
    assert one.link.connected
    assert two.link.connected
    two.link.subscribe(["calm"])
    for number in range(4):
        one.link.publish("calm", b"%d" % number)
    world.run(1)
    assert two.payloads[-4:] == [b"0", b"1", b"2", b"3"]
    assert world.broker.clients in (["one", "two"], ["two", "one"])


def test_cut_cable_is_told_and_mended() -> None:
    world = SmallWorld(Weather(0.1))
    one, two = sender_and_hearer(world)
    one.link.publish("x", b"under way")
    one.cable.cut(300)
    assert not one.link.connected
    world.run(299)
    assert one.heard.events[1] == "the connection was lost"
    assert set(one.heard.events[2:]) == {"Network is unreachable"}
    assert two.payloads == [b"gone"]
    world.run(100)
    assert one.link.connected


@pytest.mark.parametrize(("up", "down"), [(True, True), (True, False), (False, True)])
def test_short_black_hole_only_delays(up: bool, down: bool) -> None:
    world = SmallWorld()
    one, two = sender_and_hearer(world)
    one.cable.block(30, up=up, down=down)
    assert send_many(world, one, 0.01) == ALL
    assert two.payloads == ALL
    assert one.heard.events == two.heard.events == ["connected"]


@pytest.mark.parametrize(("up", "down"), [(True, True), (True, False), (False, True)])
def test_long_black_hole_is_noticed_by_both_ends(up: bool, down: bool) -> None:
    world = SmallWorld()
    one, two = sender_and_hearer(world)
    one.cable.block(1000, up=up, down=down)
    one.link.publish("x", b"into the hole")
    world.run(200)
    assert not one.link.connected
    assert world.broker.clients == ["two"]
    assert two.payloads == ([b"gone"] if up else [b"into the hole", b"gone"])
    assert "no answer within 20 s" in one.heard.events
    world.run(900)
    assert one.link.connected
    assert one.heard.events.count("connected") == 2


def test_nothing_comes_out_of_a_black_hole_not_even_twice() -> None:
    world = SmallWorld()
    one, two = sender_and_hearer(world)
    world.network.weather = Weather(0.01, doubled=1.0)
    two.cable.block(30, up=False)
    one.link.publish("x", b"1")
    world.run(29)
    assert two.payloads == []
    world.run(2)
    assert two.payloads == [b"1", b"1"]


def test_broker_that_hears_a_client_does_not_give_it_up() -> None:
    """The client, who hears nothing, does, when a ping has no answer."""
    world = SmallWorld()
    one, _ = sender_and_hearer(world)
    one.cable.block(1000, up=False)
    world.run(100)
    assert one.link.connected
    assert world.broker.clients == ["one", "two"]


def test_restart_of_the_broker_drops_all() -> None:
    world = SmallWorld(Weather(0.1))
    one, two = sender_and_hearer(world)
    one.link.publish("kept", b"1", retain=True)
    world.run(1)
    world.broker.restart(keep_database=True)
    world.run(60)
    assert one.heard.events == two.heard.events
    assert one.heard.events[1] == "the broker closed the connection"
    assert (one.link.connected, two.link.connected) == (True, True)
    assert world.broker.retained("kept") == b"1"
    assert world.broker.retained("s/one") == b"gone"
    world.broker.restart(keep_database=False)
    assert world.broker.retained("kept") is None


def test_full_queue_drops_and_counts() -> None:
    world = SmallWorld(Weather(0.1), Limits(queue=10, in_flight=5))
    one, two = sender_and_hearer(world)
    send_many(world, one)
    assert two.payloads == ALL[:15]
    assert world.broker.dropped == COUNT - 15
