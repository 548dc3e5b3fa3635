"""The bench's arithmetic, and that its devices are taken for real ones by a real aggregator."""

import os
import socket
import time

import pytest

from bench.aggregator import Round, Size, cpu_ms, play, stage, updates_per_s
from bench.support import forged
from bench.support.meters import Cost, ServiceManager, cpu_s, longest_gap_s, own_cpu_s
from bench.support.swarm import keys
from fedling_protocol.wire.refused import Reason
from tests.support.waiting import until


def test_figures_of_a_round_are_a_devices_share() -> None:
    """A round of 11 devices: 10 updates within 2 s, 0.33 s of the aggregator's CPU in all."""
    part = Cost(2.0, 0.1, 0.5, 0.5)
    one = Round(part, part, part, Cost(7.0, 0.33, 1.5, 1.5), 0, 0.0)
    assert cpu_ms(one, 11) == pytest.approx(30.0)
    assert updates_per_s(one, 11) == pytest.approx(5.0)


def test_cost_is_the_difference_in_every_column() -> None:
    assert Cost(9, 8, 7, 6) - Cost(1, 2, 3, 4) == Cost(8, 6, 4, 2)


def test_cpu_s_is_what_the_process_itself_is_told() -> None:
    """Both count user and system time; the one in ticks of 10 ms."""
    while own_cpu_s() < 0.05:
        sum(range(10_000))
    before, found, after = own_cpu_s(), cpu_s(os.getpid()), own_cpu_s()
    children = os.times()
    ended = children.children_user + children.children_system
    assert before - 0.03 <= found - ended <= after + 0.03


@pytest.mark.parametrize(
    ("times", "gap"),
    [
        ([0.0, 1.0, 2.0, 3.0], 1.0),
        ([0.0, 1.0, 2.75, 3.0], 1.75),
        ([0.5, 3.5], 3.0),  # it stood still all the time, and before and after it
        ([0.0, 0.25, 1.0, 1.5, 2.0, 2.25, 9.0], 6.75),  # longest at the end, still going on
        ([0.0, 5.0, 5.5], 5.0),
    ],
)
def test_longest_gap_reaches_from_before_to_after(times: list[float], gap: float) -> None:
    assert longest_gap_s(times, 1.0, 2.5) == gap


@pytest.mark.parametrize("times", [[], [1.5], [0.5, 2.0], [1.5, 3.0]])
def test_longest_gap_of_a_service_that_was_not_seen_is_refused(times: list[float]) -> None:
    with pytest.raises(ValueError, match="not fed"):
        longest_gap_s(times, 1.0, 2.5)


def test_service_manager_notes_when_words_were_sent_not_when_it_read_them() -> None:
    with ServiceManager() as manager, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as service:
        address = "\0" + manager.environment["NOTIFY_SOCKET"][1:]
        before = time.time()
        for words in (b"READY=1\nSTATUS=running", b"WATCHDOG=1", b"WATCHDOG=1"):
            service.sendto(words, address)
        after = time.time()
        until(lambda: len(manager.times) == 2)
        assert all(before <= at <= after for at in manager.times)
        assert manager.fed_since(before)
        assert not manager.fed_since(after)


@pytest.mark.parametrize(
    ("signer", "damage", "reason"),
    [(9, False, Reason.UNKNOWN_KEY), (1, False, Reason.ROLE), (0, True, Reason.SIGNATURE)],
)
def test_forged_messages_are_refused_for_the_reason_that_is_timed(
    signer: int, damage: bool, reason: Reason
) -> None:
    everyone = keys(10)
    topic, data = forged.forge(everyone[0], everyone[signer])
    message = forged.damaged((topic, data)) if damage else (topic, data)
    assert forged.reason(forged.trust_of(everyone[:9]), *message) is reason


def test_cost_of_a_message_that_is_taken_is_refused() -> None:
    (device,) = keys(1)
    with pytest.raises(ValueError, match="taken for a true one"):
        forged.cost_us(forged.trust_of([device]), [forged.forge(device, device)])


def test_two_rounds_of_a_few_devices_are_played_and_folded() -> None:
    with stage(Size("tiny", 4, 5), 3, rounds=2) as on, on.generator() as generator:
        on.start()
        played = [play(on, generator, number) for number in (1, 2)]
        assert on.ears.accepted == on.ears.ticketed
        assert len(on.ears.accepted) == 3
        assert all(one.asked_again == 0 for one in played)
        assert all(one.whole.wall_s >= one.update.wall_s > 0 for one in played)
        assert on.aggregator.json("round", "list", "tiny")[-1]["round"] == 2
