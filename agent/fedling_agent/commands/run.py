"""`fedling-agent run`: the service, from its configuration to its end."""

import argparse
import logging

from fedling_agent.commands import installation
from fedling_agent.service import control
from fedling_agent.service.desk import Desk
from fedling_agent.service.service import Service
from fedling_agent.store import identity
from fedling_agent.store.database import PROGRAM
from fedling_agent.store.store import Store
from fedling_protocol.disk import lock
from fedling_protocol.exits import Exit
from fedling_protocol.runtime import logs
from fedling_protocol.runtime.loop import Loop

log = logging.getLogger(__name__)


def run(args: argparse.Namespace) -> Exit:
    where = installation.find(args)
    config, streams = where.needed_config(), where.streams()
    logs.set_up(args.log)
    with lock.exclusive(where.state, PROGRAM):
        me = identity.ensure(where.state)
        log.info("device %s, key %s", me.device, me.key.public.hex())
        store = Store(where.state, config.bounds)
        loop = Loop()
        service = Service(loop, config, streams, me, store)
        server = control.Server(loop, where.state, Desk(service).handle)
        service.start()
        loop.run()
        server.close()
        loop.close()
        store.close()
    return Exit.OK
