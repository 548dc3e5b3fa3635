"""The two real services, each in the test's own thread, and what was told to them."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from fedling_agent.commands import run
from fedling_agent.config import AgentConfig
from fedling_agent.service.service import Service as DeviceService
from fedling_agent.store.identity import Identity
from fedling_agent.store.store import Store as DeviceStore
from fedling_agent.training.job import Job
from fedling_agent.training.process import Exited, Step, Tell
from fedling_broker.authority import vouching
from fedling_broker.commands import serve
from fedling_broker.config import Config
from fedling_broker.service.service import Service
from fedling_broker.store.store import Store
from fedling_protocol.disk.errors import BadDatabase
from fedling_protocol.net import credentials
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.runtime.worker import ThreadWorker, Worker, raise_
from fedling_protocol.wire.identity import SigningKey
from fedling_sim.virtual.training import made_up_vector
from tests.support.attacks.cast import (
    ONLINE,
    SECRET,
)
from tests.support.device import STREAM


class QuickTraining:
    """A training child that is done as soon as it has begun."""

    def __init__(self, loop: Loop, job: Job) -> None:
        self.pid: int | None = None
        self._loop = loop
        self._job = job
        self._tell: Tell | None = None

    def waited_s(self) -> float:
        return 0.0

    def start(self, tell: Tell) -> None:
        self._tell = tell
        self._loop.after(0, self._finish)

    def grant(self, seconds: float) -> None:
        """It needs no time."""

    def stop(self) -> None:
        """It has ended."""

    def kill(self) -> None:
        self._tell = None

    def _finish(self) -> None:
        if self._tell is not None:
            self._job.write_result(made_up_vector(self._job), 0)
            self._tell(Step(self._job.total_steps, self._job.total_steps))
            self._tell(Exited(0))


class End:
    """A service in this thread, and what it was told.

    withheld: whether the MQTT broker keeps a message to itself
    workers:  that its service has beside the loop
    """

    service: Service | DeviceService

    def __init__(self) -> None:
        self.loop = Loop()
        self.heard: list[tuple[str, bytes]] = []
        self.withheld: Callable[[str, bytes], object] = _nothing_is
        self.workers: list[Worker] = []
        self.held = ExitStack()
        self.held.callback(self.loop.close)

    def listen(self) -> None:
        """Write down what the link hands on, before the service looks at it."""
        hear = self.service.on_message

        def on_message(topic: str, payload: bytes, emptied: bool) -> None:
            if not self.withheld(topic, payload):
                self.heard.append((topic, payload))
                hear(topic, payload, emptied)

        self.service.on_message = on_message  # type: ignore[method-assign]

    @property
    def connected(self) -> bool:
        return self.service.link.connected

    @property
    def busy(self) -> bool:
        """Whether something that was heard waits for more than a disk."""
        return False

    def go_round(self) -> list[bool]:
        """Ask each worker for a call; what comes back is filled when all of them had theirs."""
        done: list[bool] = []
        left = len(self.workers)

        def then(_: object) -> None:
            nonlocal left
            left -= 1
            if not left:
                done.append(True)

        for worker in self.workers:
            worker.do(lambda: None, then, raise_)
        return done


def _nothing_is(_topic: str, _payload: bytes) -> bool:
    return False


class AggregatorEnd(End):
    """The aggregator's service on its state directory."""

    service: Service

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.held.close()  # its ports have a loop of their own
        self.held = ExitStack()
        self.store = Store(config.state_dir, alone=True)
        self.held.callback(self.store.close)
        ports = serve._ports(config, credentials.load(config.file.mqtt))
        self.loop, given = self.held.enter_context(ports)
        self.workers = [given.disk, given.compute]
        self.service = Service(
            given, config, self.store, ONLINE, SECRET, partial(vouching.load, config.authority)
        )
        self.listen()
        self.service.start()


class DeviceEnd(End):
    """The device's service on its state directory."""

    service: DeviceService

    def __init__(self, config: AgentConfig, key: SigningKey) -> None:
        super().__init__()
        assert config.state_dir is not None
        self.store = DeviceStore(config.state_dir)
        self.held.callback(self.store.close)
        disk = ThreadWorker(self.loop, "disk")
        self.held.callback(disk.close)
        ports = run._ports(self.loop, disk, config, credentials.load(config.mqtt), _no_new_one)
        self.workers = [disk]
        given = replace(ports, make_process=partial(QuickTraining, self.loop))
        me = Identity(key, bytes(32))
        self.service = DeviceService(given, config, {"wrist": STREAM}, me, self.store)
        self.listen()
        self.service.start()

    @property
    def busy(self) -> bool:
        return any(runner._waiting for runner in self.service.runners)


def _no_new_one(error: BadDatabase) -> None:
    raise AssertionError(error)
