"""What was signed and counts is kept once, and is there after a restart."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_agent.service.vouching import Vouching
from fedling_agent.service.writer import Writer
from fedling_agent.store.store import Store
from fedling_protocol.disk.errors import CannotWrite
from fedling_protocol.wire.messages import Certificate, Role, Roots
from tests.support.hand_authority import THIEF, HandAuthority
from tests.support.ports import HandClock, HandWorker
from tests.support.service import ID, ONLINE


class Bench:
    def __init__(self, directory: Path) -> None:
        self.clock = HandClock()
        self.store = Store(directory)
        self.signed: list[int] = []
        self.refused: list[Exception] = []
        self.disk = HandWorker(self.clock)
        self.begin()

    def begin(self) -> None:
        writer = Writer(self.disk, self.refused.append)
        self.vouching = Vouching(self.store.vouched, writer, self.signed.append)
        self.vouching.load(ID)

    def take(self, serial: int, envelope: bytes, owner: str = ID) -> bool:
        made = Certificate(ONLINE.public, Role.DEVICE, "home", owner, serial, 1000 + serial)
        news = self.vouching.take(made, envelope)
        self.clock.settle()
        return news


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.store.close()


def test_certificate_is_news_once_also_after_a_restart(bench: Bench) -> None:
    assert [bench.take(1, b"one") for _ in range(2)] == [True, False]
    assert bench.store.vouched.certificate(ID) == b"one"
    bench.begin()
    assert not bench.take(1, b"one")
    assert bench.take(2, b"two")
    assert bench.store.vouched.certificate(ID) == b"two"


def test_each_has_its_own_and_all_say_what_time_it_was(bench: Bench) -> None:
    assert bench.take(1, b"one", "aggregator")
    assert bench.take(5, b"one", "authority")
    assert bench.take(3, b"one")
    assert bench.signed == [0, 1001, 1005, 1003]
    assert not bench.take(3, b"one")
    assert bench.signed[-1] == 1003
    bench.begin()
    assert bench.signed[-1] == 1005  # the latest that is on disk
    assert not bench.take(1, b"one", "aggregator")


def test_chain_of_roots_is_kept_beside_certificates(bench: Bench, tmp_path: Path) -> None:
    fleet = HandAuthority(tmp_path, now_s=1_790_000_000)
    fleet.succeed(THIEF)
    chain = Roots(fleet.links)
    assert bench.vouching.take(chain, b"chain")
    bench.clock.settle()
    assert not bench.vouching.take(chain, b"chain")
    assert bench.store.vouched.roots() == b"chain"
    bench.begin()
    assert not bench.vouching.take(chain, b"chain")


def test_what_is_dropped_is_news_again(bench: Bench) -> None:
    bench.vouching.drop(ID)
    assert bench.disk.waiting == 0
    bench.take(1, b"one")
    bench.vouching.drop(ID)
    bench.clock.settle()
    assert bench.store.vouched.certificate(ID) is None
    assert bench.take(1, b"one")


def test_dropping_what_was_never_here_asks_no_disk(bench: Bench) -> None:
    bench.disk.broken = CannotWrite("anything", "it is not asked to")
    bench.vouching.drop(ID)
    bench.clock.settle()
    assert bench.refused == []
