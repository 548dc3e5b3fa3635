"""Rightly signed hostile messages through both whole services: refused, or done, never a fault.

A sample here; `make fuzz N=200000` gives each end as many as one likes. What fails is played again
by its seed.
"""

import gc
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fedling_protocol.wire import counted
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Verdict
from fedling_protocol.wire.refused import Reason
from tests.support.fuzz.agent import AgentFuzzer
from tests.support.fuzz.aggregator import AggregatorFuzzer
from tests.support.fuzz.run import SHARED, Fuzzer, scratch
from tests.support.waiting import until

SAMPLE, LONG, PARTS = 3_000, 20_000, 2

# Not said by this end: plans have kinds for devices only, and a life for them only.
OF_DEVICES = {Reason.PLAN_KIND, Reason.FORMER, Reason.REVOKED, Reason.FORK}
OF_ENROLMENT = {Reason.EXPIRED, Reason.TOKEN, Reason.UNASKED}  # tests/protocol/wire has them


def fuzz(make: Callable[[int, Path], Fuzzer], seed: int, count: int) -> Fuzzer:
    with scratch() as directory:
        fuzzer = make(seed, directory)
        fuzzer.run(count)
        fuzzer.close()
    return fuzzer


def missing(fuzzer: Fuzzer, wanted: set[str]) -> set[str]:
    return {word for word in wanted if not fuzzer.reached[word]}


def check_agent(count: int, seed: int) -> None:
    fuzzer = fuzz(AgentFuzzer, seed, count)
    refusals = {f"refused: {reason}" for reason in set(Reason) - OF_ENROLMENT - {Reason.PLAN_KIND}}
    phases = {"Idle", "Joining", "Waiting", "Ready", "Training", "Paused", "Sending"}
    endings = {f"over: {verdict}" for verdict in (*Verdict, None) if verdict != "duplicate"}
    endings |= {counted.received(Kind.CHUNK)}
    wanted = refusals | phases | endings | {f"declined: {Reason.PLAN_KIND}", "declined plans"}
    assert missing(fuzzer, wanted) == set()


def check_aggregator(count: int, seed: int) -> None:
    fuzzer = fuzz(AggregatorFuzzer, seed, count)
    refusals = {f"refused: {reason}" for reason in set(Reason) - OF_DEVICES - OF_ENROLMENT}
    reasons = ("conflict", "unknown plan", "no ticket", "base", "weight", "shape", "tested")
    receipts = {"accepted: ", "duplicate: ", "late: ", *(f"refused: {r}" for r in reasons)}
    said = {"models", "model", "chunk", "plan", "certificate", "accepted, of chunks"}
    assert missing(fuzzer, refusals | receipts | said) == set()


def test_no_signed_message_is_a_fault_at_a_device() -> None:
    check_agent(SAMPLE, 1)


def test_no_signed_message_is_a_fault_at_the_aggregator() -> None:
    check_aggregator(SAMPLE, 1)


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
def test_many_messages_are_no_fault_at_a_device(part: int) -> None:
    check_agent(LONG, 1000 + part)


@pytest.mark.long
@pytest.mark.parametrize("part", range(PARTS))
def test_many_messages_are_no_fault_at_the_aggregator(part: int) -> None:
    check_aggregator(LONG, 1000 + part)


@pytest.mark.parametrize("make", [AgentFuzzer, AggregatorFuzzer])
def test_the_same_seed_is_the_same_run(make: Callable[[int, Path], Fuzzer]) -> None:
    """To the byte, whenever it is: an id made of the date met another fate once in a while."""
    one, began = fuzz(make, 7, 300), int(time.time())
    until(lambda: int(time.time()) > began)
    other = fuzz(make, 7, 300)
    assert one.spoken.digest() == other.spoken.digest()
    assert one.reached == other.reached


@pytest.mark.parametrize("make", [AgentFuzzer, AggregatorFuzzer])
def test_memory_does_not_grow_with_messages(make: Callable[[int, Path], Fuzzer]) -> None:
    """Objects that are alive, after one service has ended and another begun, again and again."""
    with scratch() as directory:
        fuzzer = make(11, directory)
        alive = []
        for _ in range(3):
            fuzzer.run(500)
            fuzzer.close()
            gc.collect()
            alive.append(len(gc.get_objects()))
    assert alive[2] - alive[1] < 1000, "two objects for each message"


def test_scratch_is_in_memory_where_there_is_some() -> None:
    with scratch() as directory:
        assert directory.is_relative_to(SHARED) == SHARED.is_dir()
