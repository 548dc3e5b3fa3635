"""What the MQTT broker reads follows the database, whatever a disk does in between."""

from pathlib import Path

from fedling_broker.authority import directory, x509
from fedling_broker.mosquitto.configuration import SLOTS
from fedling_broker.mosquitto.passwords import Login
from fedling_broker.service import gate
from fedling_broker.service.gate import Gate, Guests
from fedling_protocol.wire.identity import device_id
from tests.support.hand_aggregator import HandAggregator, key_of
from tests.support.ports import HandClock, HandWorker

A, B = "a" * 16, "b" * 16
LOGIN = Login("enrol-1", "secret")


class Hall:
    """A gate, its database and its files by hand."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.worker = HandWorker(self.clock)
        self.guests = Guests()
        self.events: list[object] = []
        self.gate = Gate(
            self.clock, self.worker, lambda: self.guests, self.events.append, self.events.append
        )

    def look(self, guests: Guests) -> None:
        self.guests = guests
        self.gate.look()
        self.clock.settle()


def revoked(*devices: str) -> Guests:
    return Guests(frozenset(devices), able=frozenset(devices))


def test_bearers_of_tokens_that_count_are_let_in_and_no_others(tmp_path: Path) -> None:
    aggregator = HandAggregator(tmp_path / "state")
    aggregator.invite(seconds=5)
    token = aggregator.invite()
    aggregator.clock.move(5.0)
    guests = gate.read(aggregator.devices, aggregator.store, lambda: aggregator.now_s)
    assert guests.logins == {Login(token.user(slot), token.password) for slot in range(SLOTS)}
    aggregator.store.close()


def test_of_a_revoked_device_the_name_and_each_certificate_are_told(tmp_path: Path) -> None:
    aggregator = HandAggregator(tmp_path / "state")
    aggregator.found_authority()
    aggregator.connect()
    for number in (1, 2):
        aggregator.ask(number, aggregator.invite(seconds=5))
    aggregator.ask(1, aggregator.invite(seconds=5), tls=1)
    aggregator.clock.move(5.0)
    one = device_id(key_of(1).public)
    ders = [made.der for made in aggregator.store.tls_certificates.of(one)]
    with directory.alone(aggregator.config.authority) as own:
        aggregator.devices.revoke(one, own.authority_key())
    guests = gate.read(aggregator.devices, aggregator.store, lambda: aggregator.now_s)
    serials = {x509.serial(der) for der in ders}
    assert len(serials) == 2
    assert guests == Guests(frozenset({one}), frozenset(serials), able=frozenset({one}))
    aggregator.store.close()


def test_look_writes_what_differs_and_nothing_else() -> None:
    hall = Hall()
    for guests in (Guests(), Guests(), Guests(logins=frozenset({LOGIN})), Guests()):
        hall.look(guests)
    assert hall.events == [Guests(), Guests(logins=frozenset({LOGIN})), Guests()]


def test_revoked_is_put_off_once_and_after_it_is_written() -> None:
    hall = Hall()
    hall.look(revoked(A))
    hall.look(revoked(A, B))
    hall.look(revoked(A, B))
    assert hall.events == [revoked(A), A, revoked(A, B), B]


def test_who_cannot_come_any_more_is_not_put_off() -> None:
    hall = Hall()
    hall.look(Guests(frozenset({A}), able=frozenset()))
    assert hall.events == [Guests(frozenset({A}))]


def test_change_while_another_is_written_is_written_after_it() -> None:
    hall = Hall()
    hall.worker.waits = True
    hall.look(revoked(A))
    hall.look(Guests())
    hall.look(revoked(B))
    assert hall.worker.waiting == 1
    hall.worker.go()
    hall.clock.settle()
    hall.worker.go()
    hall.clock.settle()
    assert hall.events == [revoked(A), A, revoked(B), B]


def test_disk_that_refuses_is_tried_again_and_nobody_is_put_off_before() -> None:
    hall = Hall()
    hall.worker.broken = OSError(28, "No space left on device")
    hall.look(revoked(A))
    assert hall.events == []
    hall.worker.broken = None
    hall.clock.move(gate.AGAIN_S)
    hall.clock.settle()
    assert hall.events == [revoked(A), A]
