"""Where a schedule listens to the real services; and signatures that cost little.

All that is patched for schedules is patched here, and only while a world runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from fedling_agent.service import runner as agent
from fedling_agent.session import machine as session
from fedling_broker.rounds import machine as rounds
from fedling_broker.service import runner as broker
from fedling_broker.service import service as broker_service
from fedling_broker.service import turns
from fedling_broker.store.rounds import Rounds
from fedling_broker.tasks import task_file
from fedling_protocol.disk.database import Transaction
from fedling_protocol.disk.errors import CannotWrite
from fedling_protocol.net.ports import Done
from fedling_protocol.runtime import mishaps
from fedling_protocol.wire import identity, payload
from fedling_protocol.wire.identity import SigningKey, kid
from fedling_sim.virtual.connection import Message
from fedling_sim.virtual.link import VirtualLink
from fedling_sim.virtual.network import Lane
from tests.support.shells.violation import Violation

if TYPE_CHECKING:
    from tests.support.shells.world import World


class QuickKey(SigningKey):
    """Signs by a hash that anybody could make: nobody forges anything in a schedule."""

    __slots__ = ()

    def __init__(self, seed: bytes) -> None:
        self.public = hashlib.sha256(b"public" + seed).digest()
        self.kid = kid(self.public)

    def sign(self, data: bytes) -> bytes:
        return hashlib.blake2b(data, key=self.public).digest()


def verify(public: bytes, signature: bytes, *data: bytes | memoryview) -> bool:
    """The counterpart of QuickKey.sign()."""
    return hashlib.blake2b(b"".join(data), key=public).digest() == signature


parse_task = lru_cache(maxsize=64)(
    task_file.parse_task
)  # an aggregator reads its task at each start


decode = lru_cache(maxsize=1024)(payload.decode)  # all devices hear the same, and so does the judge


@contextmanager
def tapped(world: World) -> Iterator[None]:
    """Let the world hear of every action, message and step while it runs."""
    with ExitStack() as stack:
        enter = stack.enter_context
        enter(patch.object(identity, "verify", verify))
        enter(patch.object(task_file, "parse_task", parse_task))
        enter(patch.object(payload, "decode", decode))
        enter(patch.object(mishaps, "sentence", _unexpected(mishaps.sentence)))
        enter(patch.object(session, "step", counted(world, session.step)))
        enter(patch.object(rounds, "step", counted(world, rounds.step)))
        enter(patch.object(VirtualLink, "publish", _publish(world, VirtualLink.publish)))
        enter(patch.object(VirtualLink, "on_message", _hear(world, VirtualLink.on_message)))
        enter(patch.object(Lane, "_send_slowly", _move(world, Lane._send_slowly)))
        enter(patch.object(Rounds, "rename", _rename(world, Rounds.rename)))
        enter(patch.object(turns, "make_durable", _make_durable(world, turns.make_durable)))
        enter(patch.object(broker_service, "LOOK_S", world.look_s))
        enter(patch.dict(agent.PERFORM, _performed(world.on_device_action, agent.PERFORM)))
        enter(patch.dict(broker.PERFORM, _performed(world.on_aggregator_action, broker.PERFORM)))
        yield


def counted(world: World, step: Callable[..., Any]) -> Callable[..., Any]:
    """A step of a machine is an event of the schedule."""

    def count(*args: Any) -> Any:
        world.events += 1
        return step(*args)

    return count


Perform = Callable[[Any, Any], None]


def _performed(tell: Callable[[Any, Any], None], table: dict[type, Perform]) -> dict[type, Perform]:
    def perform(call: Perform, runner: Any, action: Any) -> None:
        tell(runner, action)
        call(runner, action)

    return {kind: partial(perform, call) for kind, call in table.items()}


def _publish(world: World, publish: Callable[..., bool]) -> Callable[..., bool]:
    def judged(
        link: VirtualLink,
        topic: str,
        payload: bytes,
        *,
        retain: bool = False,
        done: Done | None = None,
        cut: Done | None = None,
    ) -> bool:
        if link.connected:
            world.judge.on_publish(link._connection, topic, payload)
        return publish(link, topic, payload, retain=retain, done=done, cut=cut)

    return judged


def _hear(world: World, hear: Callable[..., None]) -> Callable[..., None]:
    def judged(link: VirtualLink, message: Message) -> None:
        world.judge.on_arrival(link._client_id, message.topic, message.payload)
        hear(link, message)

    return judged


def _unexpected(sentence: Callable[[BaseException], str]) -> Callable[[BaseException], str]:
    """Services live on with what nobody expected: here it is found out."""

    def judged(error: BaseException) -> str:
        if not type(error).__module__.startswith("fedling_"):
            raise Violation(f"unexpected: {error!r}") from error
        return sentence(error)

    return judged


def _move(world: World, send: Callable[..., None]) -> Callable[..., None]:
    def judged(lane: Lane, size: int, call: Any, argument: Any) -> None:
        send(lane, size, call, argument)
        world.judge.on_moving(lane, argument)

    return judged


def _rename(world: World, rename: Callable[..., None]) -> Callable[..., None]:
    def judged(self: Rounds, task: str, old: bytes, new: bytes) -> None:
        world.judge.renamed[new] = old
        world.seen["another id"] += 1
        rename(self, task, old, new)

    return judged


def _make_durable(world: World, make: Callable[..., None]) -> Callable[..., None]:
    """The aggregator's disk may be full."""

    def refuse(writes: Any, transaction: Transaction) -> None:
        if world.disk_full:
            world.seen["the disk was full"] += 1
            transaction.roll_back()
            raise CannotWrite("the turn", "the disk is full")
        make(writes, transaction)

    return refuse
