"""A link's life as its owner sees it: connect, traffic, transfers that take time, the end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_protocol.net.ports import Will
from fedling_protocol.net.tcpinfo import Traffic
from fedling_sim.virtual.clock import Killed
from fedling_sim.virtual.mqtt import Limits
from fedling_sim.virtual.network import Weather
from fedling_sim.virtual.worker import Fuse, Moment
from tests.firmware_sim.virtual.ends import LIMIT, SmallWorld

KB_S = 1000.0  # a slow cable


def test_publish_is_done_after_both_ways_and_not_inside() -> None:
    world = SmallWorld(Weather(latency_s=0.1))
    one, two = world.end("one"), world.end("two")
    two.link.subscribe(["x"])
    world.run(1)
    done: list[float] = []
    before = one.clock.now()
    assert one.link.publish("x", b"1", done=lambda: done.append(one.clock.now() - before))
    assert (done, two.payloads) == ([], [])
    world.run(0.15)
    assert (done, two.payloads) == ([], [])
    world.run(1)
    assert ([round(s, 3) for s in done], two.payloads) == ([0.2], [b"1"])


def test_unconnected_link_sends_nothing() -> None:
    world = SmallWorld()
    world.broker.stop(keep_database=False)
    end = world.end("one")
    assert not end.link.connected
    assert not end.link.publish("x", b"1")
    end.link.subscribe(["x"])
    end.link.unsubscribe(["x"])
    end.link.reconnect("nothing to give up")
    assert set(end.heard.events) == {"Connection refused"}


def test_retries_back_off_until_the_broker_is_back() -> None:
    world = SmallWorld()
    world.broker.stop(keep_database=False)
    end = world.end("one")
    world.run(3600)
    assert set(end.heard.events) == {"Connection refused"}
    assert len(end.heard.events) < 3600 / 60 * 3
    assert max(end.heard.retries) > 30
    world.broker.start()
    world.run(60)
    assert end.heard.events[-1] == "connected"


def test_traffic_is_that_of_mqtt_packets() -> None:
    world = SmallWorld()
    one = world.end("one", Will("s", b"gone"))
    assert one.heard.traffic == Traffic(2 + 10 + 2 + 3 + 2 + 1 + 2 + 4, 4)  # CONNECT, CONNACK
    two = world.end("two")
    one.heard.traffic = two.heard.traffic = Traffic()
    two.link.subscribe(["x", "yy"])
    world.run(1)
    one.link.publish("x", b"1" * 200, done=lambda: None)
    world.run(1)
    assert one.heard.traffic == Traffic(3 + 2 + 1 + 2 + 200, 4)
    size = 3 + 2 + 1 + 2 + 200
    assert two.heard.traffic == Traffic(2 + 2 + 4 + 5 + 4, 2 + 2 + 2 + size)
    two.link.unsubscribe(["x"])
    two.link.take_traffic()
    two.link.take_traffic()
    assert two.heard.traffic.sent == 2 + 2 + 4 + 5 + 4 + 2 + 2 + 3


def test_large_upload_takes_its_time() -> None:
    world = SmallWorld()
    slow, fast = world.end("slow", rate=KB_S), world.end("fast")
    fast.link.subscribe(["x"])
    done: list[bool] = []
    slow.link.publish("x", b"1" * 9000, done=lambda: done.append(True))
    assert slow.link.sending
    world.run(8.9)
    assert (slow.link.sending, fast.payloads) == (True, [])
    world.run(0.2)
    assert (slow.link.sending, done, len(fast.payloads)) == (False, [True], 1)


def test_reconnect_aborts_an_upload_and_spares_what_has_left() -> None:
    world = SmallWorld(Weather(latency_s=0.2))
    slow, fast = world.end("slow", rate=KB_S), world.end("fast")
    fast.link.subscribe(["x"])
    world.run(1)
    done: list[bool] = []
    slow.link.publish("x", b"a" * 1000, done=lambda: done.append(True))
    slow.link.publish("x", b"b" * 1000, done=lambda: done.append(True))
    world.run(1.1)  # the first has left and not arrived
    assert slow.link.sending
    slow.link.reconnect("it must not be sent now")
    assert (slow.link.sending, slow.link.connected) == (False, False)
    world.run(60)
    assert slow.link.connected
    assert ([p[:1] for p in fast.payloads], done) == ([b"a"], [])


def test_download_is_seen_coming_and_can_be_aborted() -> None:
    world = SmallWorld()
    fast, slow = world.end("fast"), world.end("slow", rate=KB_S)
    fast.link.publish("model", b"1" * 9000, retain=True)
    world.run(1)
    assert slow.link.receiving == 0
    slow.link.subscribe(["model"])
    world.run(4)
    assert 4900 < slow.link.receiving < 5200
    slow.link.unsubscribe(["model"])
    slow.link.reconnect("a model is not wanted any more")
    assert slow.link.receiving == 0
    world.run(60)
    assert slow.link.connected
    assert slow.payloads == []
    slow.link.subscribe(["model"])
    world.run(10)
    assert (len(slow.payloads), slow.link.receiving) == (1, 0)


@given(st.integers(LIMIT - 20, LIMIT + 20))
def test_message_beyond_the_limit_comes_in_empty(length: int) -> None:
    world = SmallWorld()
    one = world.end("one")
    one.link.subscribe(["x"])
    world.run(1)
    one.link.publish("x", bytes(length))
    world.run(1)
    fits = length <= LIMIT
    assert one.heard.messages == [("x", bytes(length) if fits else b"", not fits)]


def test_stop_says_a_last_word_and_no_will() -> None:
    world = SmallWorld()
    one, two = world.end("one", Will("state", b"gone")), world.end("two")
    two.link.subscribe(["state"])
    world.run(1)
    done: list[bool] = []
    one.link.stop(Will("state", b"bye"), lambda: done.append(True))
    assert done == []
    world.run(100)
    assert (done, two.payloads, world.broker.clients) == ([True], [b"bye"], ["two"])
    assert one.heard.events == ["connected"]


def test_stop_waits_for_what_is_queued_but_not_for_ever() -> None:
    world = SmallWorld()
    one, two = world.end("one", Will("state", b"gone"), KB_S), world.end("two")
    two.link.subscribe(["state", "x"])
    world.run(1)
    one.link.publish("x", bytes(9000))
    done: list[float] = []
    before = one.clock.now()
    one.link.stop(None, lambda: done.append(one.clock.now() - before))
    world.run(100)
    assert [round(seconds, 2) for seconds in done] == [2.0]
    assert two.payloads == [b"gone"]


@pytest.mark.parametrize("connecting", [True, False])
def test_stop_while_not_connected(connecting: bool) -> None:
    world = SmallWorld(Weather(latency_s=0.9))
    if not connecting:
        world.broker.stop(keep_database=False)
        world.network.weather = Weather()
    end = world.end("one")
    done: list[bool] = []
    end.link.stop(None, lambda: done.append(True))
    events = list(end.heard.events)
    world.run(1000)
    assert (done, end.heard.events, world.broker.clients) == ([True], events, [])


def test_owner_may_reconnect_inside_a_message() -> None:
    world = SmallWorld()
    end = world.end("one")
    end.link.subscribe(["x"])
    end.heard.react = lambda _topic: end.link.reconnect("enough")
    for word in (b"1", b"2"):
        end.link.publish("x", word)
    world.run(60)
    assert end.payloads == [b"1"]
    assert end.heard.events == ["connected", "enough", "connected"]


@pytest.mark.parametrize(("silently", "after_s"), [(False, 0.0), (True, 90.0)])
def test_vanished_process_is_missed(silently: bool, after_s: float) -> None:
    world = SmallWorld()
    one, two = world.end("one", Will("state", b"gone")), world.end("two")
    two.link.subscribe(["state"])
    world.run(1)
    one.link.vanish(silently=silently)
    one.clock.close()
    world.run(after_s - 0.1 if after_s else 0)
    assert two.payloads == ([] if silently else [b"gone"])
    world.run(0.2)
    assert two.payloads == [b"gone"]
    world.run(1000)
    assert one.heard.events == ["connected"]


def test_power_cut_ends_an_upload() -> None:
    """Nobody tells the broker, and yet the rest does not come."""
    world = SmallWorld()
    one, two = world.end("one", rate=KB_S), world.end("two")
    two.link.subscribe(["x"])
    world.run(1)
    one.link.publish("x", bytes(2000))
    world.run(1)
    one.link.vanish(silently=True)
    world.run(60)
    assert (two.payloads, world.broker.clients) == ([], ["one", "two"])


def test_bytes_are_told_when_a_connection_ends() -> None:
    world = SmallWorld()
    end = world.end("one")
    before = end.heard.traffic
    end.link.publish("x", b"1")
    end.link.reconnect("at once")
    assert end.heard.traffic - before == Traffic(2 + 2 + 1 + 2 + 1, 0)


def test_long_life_lets_the_next_retry_be_soon() -> None:
    world = SmallWorld()
    world.broker.stop(keep_database=False)
    end = world.end("one")
    world.run(600)
    world.broker.start()
    world.run(3600)
    assert max(end.heard.retries) > 10
    end.link.reconnect("after a long life")
    assert end.heard.retries[-1] < 1.0


@pytest.mark.parametrize(("blow_at", "arrives"), [(1, False), (2, True)])
def test_process_killed_around_a_publish(blow_at: int, arrives: bool) -> None:
    world = SmallWorld()
    dead: list[bool] = []
    fuse = Fuse(blow_at, lambda: dead.append(True))
    one, two = world.end("one", hook=fuse), world.end("two")
    two.link.subscribe(["x"])
    world.run(1)
    with pytest.raises(Killed) as killed:
        one.link.publish("x", b"1")
    killed.value.bury()
    one.link.vanish(silently=False)
    world.run(1)
    assert (dead, two.payloads, fuse.count) == ([True], [b"1"] if arrives else [], blow_at)
    assert Moment.BEFORE_PUBLISH in Moment


def test_cut_blames_nobody_who_was_acknowledged() -> None:
    world = SmallWorld(limits=Limits(packet=1000))
    end = world.end("one")
    blamed: list[str] = []
    end.link.publish("x", bytes(500), cut=lambda: blamed.append("acknowledged"))
    world.run(1.0)
    end.link.publish("x", bytes(2000))  # nobody asked to be told
    world.run(60.0)
    assert len(end.heard.retries) == 1
    end.link.publish("x", bytes(500), cut=lambda: blamed.append("our own end"))
    end.link.reconnect("we want it")
    world.run(60.0)
    assert blamed == []
    assert end.link.refused == ()
