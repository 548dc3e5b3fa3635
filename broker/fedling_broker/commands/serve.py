"""`fedling-broker serve`: the service, from its configuration to its end."""

import argparse
import gc
import logging
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from fedling_broker import agreement
from fedling_broker.authority import vouching
from fedling_broker.authority.signing import BUILT_S
from fedling_broker.commands import ages, installation
from fedling_broker.commands.admission import Admission
from fedling_broker.config import UNIT, Config
from fedling_broker.service.service import Ports, Service
from fedling_broker.store.database import FILE, PROGRAM
from fedling_broker.store.devices import Devices
from fedling_broker.store.store import Store
from fedling_protocol.disk import lock, ownership, second_look
from fedling_protocol.disk.errors import BadDatabase, CannotWrite, WrongTables
from fedling_protocol.disk.ownership import NotOurs
from fedling_protocol.exits import Exit
from fedling_protocol.moments import moment
from fedling_protocol.net import credentials
from fedling_protocol.net.credentials import Access
from fedling_protocol.net.link import MqttLink
from fedling_protocol.net.mqtt import new_client
from fedling_protocol.net.ports import Broker, Link, Owner
from fedling_protocol.runtime import logs, memory, sdnotify, watchdog
from fedling_protocol.runtime.backoff import Backoff
from fedling_protocol.runtime.ending import Ending
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.runtime.watchdog import Watchdog
from fedling_protocol.runtime.worker import ThreadWorker
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire.identity import IdentityError

log = logging.getLogger(__name__)


def run(args: argparse.Namespace) -> Exit:
    logs.set_up(args.log)
    memory.give_back_large_blocks()
    found = installation.load(args)
    ownership.become(found.state_dir, UNIT, found.path)
    ownership.check_ours(found.state_dir)
    if time.time() < BUILT_S:
        now = moment(time.time())
        log.warning("the clock says %s: set it, or devices ignore this aggregator", now)
    with lock.exclusive(found.state_dir, PROGRAM):
        store = _open(found)
        try:
            agreement.agree(found, store)
            _warn(found, store)
            key, secret = installation.online_key(found), installation.secret(found)
            with _ports(found, credentials.load(found.file.mqtt)) as (loop, ports):
                load = partial(vouching.load, found.authority)
                service = Service(ports, found, store, key, secret, load)
                ending = Ending(loop, partial(service.stop, loop.stop), partial(_why_not, args))
                _serve(loop, service)
                ending.close()
        finally:
            store.close()
    ending.finish()
    return Exit.OK


def _warn(found: Config, store: Store) -> None:
    """Say what of the keys needs the operator."""
    devices, now_s = Devices(store.database, found.topics), int(time.time())
    for words in (*ages.faults(devices, now_s), *ages.notes(found, devices, now_s)):
        log.warning("%s", words)


def _open(found: Config) -> Store:
    """Open the state. Raises CannotWrite, WrongTables; BadDatabase: it is damaged for good."""
    try:
        return Store(found.state_dir, alone=True)
    except BadDatabase as error:
        second_look.confirm(found.state_dir / FILE, error, watchdog.in_long_work())
        raise


def _why_not(args: argparse.Namespace) -> str:
    """Why the service could not begin with broker.toml as it is now; empty if it could."""
    try:
        with installation.opened(args) as (found, store):
            ownership.check_ours(found.state_dir)
            installation.secret(found)
            installation.check_certificates(found, Devices(store.database, found.topics))
        credentials.load(found.file.mqtt)
    except (CannotWrite, IdentityError, NotOurs, SettingsError, WrongTables) as error:
        return str(error)
    return ""


def _serve(loop: Loop, service: Service) -> None:
    """Run the service until a signal."""
    service.start()
    gc.freeze()  # what lives as long as the process is not looked through again, in the loop's time
    Watchdog(loop).start()
    sdnotify.ready("running")
    loop.run()


@contextmanager
def _ports(found: Config, access: Access) -> Iterator[tuple[Loop, Ports]]:
    """The real ones; what they have begun is finished at the end."""
    loop = Loop()
    disk, compute = ThreadWorker(loop, "disk"), ThreadWorker(loop, "compute")
    try:
        make_link = partial(_link, loop, found, access)
        admission = Admission(found, partial(_link, loop, found))
        yield (
            loop,
            Ports(
                *(loop, disk, compute, make_link, random.random, sdnotify.status),
                admission.write,
                admission.cutter(loop, disk),
            ),
        )
    finally:
        compute.close()
        disk.close()
        loop.close()


def _link(loop: Loop, found: Config, access: Access, client_id: str, owner: Owner) -> Link:
    mqtt, retry = found.file.mqtt, found.file.retry
    return MqttLink(
        loop,
        ThreadWorker(loop, "names", patient=False),
        Broker(mqtt.host, mqtt.tcp_port, mqtt.silence_s),
        Backoff(retry.first_s, retry.longest_s, random.random),
        found.topics.largest,
        partial(new_client, client_id, access.credentials),
        owner,
        access.layer,
    )
