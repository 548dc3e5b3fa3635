"""`fedling-agent run`: the service, from its configuration to its end, on the real ports."""

import argparse
import gc
import logging
import os
import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from fedling_agent.commands import installation
from fedling_agent.commands.installation import Installation
from fedling_agent.conditions.watcher import Watcher
from fedling_agent.config import AgentConfig
from fedling_agent.data.streams import Stream
from fedling_agent.service import control
from fedling_agent.service.desk import Desk
from fedling_agent.service.service import Ports, Service
from fedling_agent.store import identity
from fedling_agent.store.database import PROGRAM
from fedling_agent.store.identity import Identity
from fedling_agent.store.store import Store
from fedling_agent.training.process import ChildProcess
from fedling_protocol.classes import dataclass
from fedling_protocol.disk import lock
from fedling_protocol.disk.errors import BadDatabase, CannotWrite
from fedling_protocol.disk.lock import Locked
from fedling_protocol.disk.ownership import NotOurs
from fedling_protocol.exits import Exit
from fedling_protocol.net import credentials
from fedling_protocol.net.credentials import Access
from fedling_protocol.net.link import MqttLink
from fedling_protocol.net.mqtt import new_client
from fedling_protocol.net.ports import Broker, Link, Owner
from fedling_protocol.net.way import Way
from fedling_protocol.runtime import logs, sdnotify, watchdog
from fedling_protocol.runtime.backoff import Backoff
from fedling_protocol.runtime.ending import Ending
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.runtime.watchdog import Watchdog
from fedling_protocol.runtime.worker import ThreadWorker
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire.identity import IdentityError

log = logging.getLogger(__name__)

HEALTHY_S = 60.0  # a database that is damaged again within it lies on a card that is failing
LOCK_S = 3.0
LOCK_LOOK_S = 0.002


@dataclass(frozen=True, slots=True)
class _Who:
    """What every life of the service in this process has."""

    where: Installation
    config: AgentConfig
    streams: dict[str, Stream]
    access: Access
    identity: Identity
    why_not: Callable[[], str]  # as Ending asks it


def run(args: argparse.Namespace) -> Exit:
    where = installation.find(args, _import_what_comes_later)
    config, streams = where.needed_config(), where.streams()
    logs.set_up(args.log)
    access = credentials.load(config.mqtt)
    gc.freeze()  # modules are not looked through again in the loop's time; lives come and go
    with ExitStack() as held:
        _lock(held, where)
        me = identity.ensure(where.state)
        log.info("device %s, key %s", me.device, me.key.public.hex())
        who = _Who(where, config, streams, access, me, partial(_why_not, args))
        ending = _lives(who)
    ending.finish()
    return Exit.OK


def _import_what_comes_later() -> None:
    """Whom root becomes may not read where packages lie, and will train and renew certificates."""
    import ctypes  # noqa: F401

    import fedling_agent.store.tls_pair  # noqa: F401


def _lives(who: _Who) -> Ending:
    """Run the service; on a new database where the old one is damaged. Raises CannotWrite."""
    state, bounds = who.where.state, who.config.bounds
    alive = watchdog.in_long_work()
    store = Store.open_or_begin_anew(state, bounds, int(time.time()), alive)
    renewed = float("-inf")
    while isinstance(end := _live(who, store), BadDatabase):
        if time.monotonic() < renewed + HEALTHY_S:
            raise CannotWrite(f"{store.database.path}", f"{end}, again and again")
        store = Store.begin_anew(state, bounds, int(time.time()), end, alive)
        renewed = time.monotonic()
    return end


def _live(who: _Who, store: Store) -> BadDatabase | Ending:
    """Run the service on this store to its end, which may be that the database is damaged.

    Who was told to end ends, whatever is found on the way out: the next start begins anew.
    """
    ends: list[BadDatabase] = []
    with ExitStack() as held:
        held.callback(store.close)
        loop = Loop()
        held.callback(loop.close)
        disk = ThreadWorker(loop, "disk")
        held.callback(disk.close)

        def begin_anew(error: BadDatabase) -> None:
            ends.append(error)
            service.link.reconnect("begins anew")
            loop.stop()

        ports = _ports(loop, disk, who.config, who.access, begin_anew)
        service = Service(ports, who.config, who.streams, who.identity, store)
        server = control.Server(loop, who.where.state, Desk(service).handle)
        held.callback(server.close)
        ending = Ending(loop, partial(service.stop, loop.stop), who.why_not)
        try:
            service.start()
        except BadDatabase as error:
            service.meet(error)
        Watchdog(loop).start()
        sdnotify.ready("running")
        loop.run()
        ending.close()
    if not ends or ending.asked:
        return ending
    ending.release()  # the new database may be filled for minutes, and begun with again
    return ends[0]


def _lock(held: ExitStack, where: Installation) -> None:
    """A command that stores a piece has the lock for a moment. Raises Locked."""
    until = time.monotonic() + LOCK_S
    while True:
        try:
            held.enter_context(lock.exclusive(where.kept(), PROGRAM))
            return
        except Locked:
            if time.monotonic() > until:
                raise
            time.sleep(LOCK_LOOK_S)


def _why_not(args: argparse.Namespace) -> str:
    """Why the service could not begin with agent.toml as it is now; empty if it could."""
    try:
        where = installation.find(args)
        where.streams()
        credentials.load(where.needed_config().mqtt)
    except (IdentityError, NotOurs, SettingsError) as error:
        return str(error)
    return ""


def _ports(
    loop: Loop,
    disk: ThreadWorker,
    config: AgentConfig,
    access: Access,
    begin_anew: Callable[[BadDatabase], None],
) -> Ports:
    names = ThreadWorker(loop, "names", patient=False)
    sensors = ThreadWorker(loop, "sensors", patient=False)
    training, mqtt, retry = config.training, config.mqtt, config.retry
    roots = replace(config.roots, way=Way(mqtt.host, mqtt.tcp_port))

    def make_link(client_id: str, owner: Owner) -> Link:
        return MqttLink(
            loop,
            names,
            Broker(mqtt.host, mqtt.tcp_port, mqtt.silence_s),
            Backoff(retry.first_s, retry.longest_s, random.random),
            config.topics.largest,
            partial(new_client, client_id, access.credentials),
            owner,
            access.layer,
            roots.way,
        )

    return Ports(
        clock=loop,
        disk=disk,
        watcher=Watcher(config.policy.rows, roots, loop, sensors),
        make_link=make_link,
        make_process=partial(
            ChildProcess,
            loop,
            duty=training.duty,
            checkpoint_s=training.checkpoint_s,
            only_idle=training.only_idle,
            children=roots.processors.children,
        ),
        dice=os.urandom,
        draw=random.random,
        begin_anew=begin_anew,
    )
