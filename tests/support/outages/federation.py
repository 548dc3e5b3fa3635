"""Six devices and an aggregator on one mosquitto over mutual TLS: three machines may fail."""

import shutil
from collections.abc import Callable, Collection
from pathlib import Path

from fedling_broker.mosquitto.process import Mosquitto, free_port
from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.topics import Topics
from fedling_protocol.wire.trust import Received, Trust
from tests.support.certificates import Authority, Pair, mosquitto_settings, mqtt_keys
from tests.support.crash.fleet import DEVICES, TASK, Fleet
from tests.support.crash.keeper import Keeper
from tests.support.outages.bad_disk import BadDisk, Trouble, build
from tests.support.outages.disk import Disk
from tests.support.outages.feed import Feed
from tests.support.outages.machine import Machine
from tests.support.outages.witness import Witness, is_word_of
from tests.support.waiting import until

HOST = "127.0.0.1"
FLEET = "crash"
ROUNDS = 100_000  # it never ends by itself
FALLIBLE = 2  # devices with a machine of their own; the others keep them company
AGGREGATOR = "aggregator"
PATIENCE_S = 120.0
WITNESS = SigningKey(b"W" * 32)


class Federation:
    """Ready to start; `with` ends all of it.

    machines: by the name of who works there: "aggregator", or a device's id
    """

    def __init__(self, directory: Path, keeper: Keeper, forgetful: Collection[str] = ()) -> None:
        """forgetful: "aggregator" or "device": whose disks are so from the beginning"""
        self.loop = Loop()
        self._keeper, self._directory = keeper, directory
        self._authority, port = Authority(directory / "authority"), free_port()
        self.fleet = Fleet(keeper, directory / "fleet", port, rounds=ROUNDS)
        self.machines: dict[str, Machine] = {}
        self.feeds: list[Feed] = []
        self._listeners: list[Callable[[Received], None]] = []
        self._certify_witness()
        self._library, self._forgetful = build(directory), forgetful
        self._add_aggregator()
        for number in range(DEVICES):
            config = self.fleet.layout.config_of(number)
            self._secure(config, self._authority.client(self.fleet.ids[number]))
            if number < FALLIBLE:
                self._add_device(number, config)
        settings = mosquitto_settings(self._authority, self._authority.server(), mutual=True)
        self._mosquitto = Mosquitto(directory / "mosquitto", port, settings=settings)
        self._mosquitto.start()
        self.witness = self._listen(port)

    # --- its parts -------------------------------------------------------------------------------

    def _certify_witness(self) -> None:
        broker = self.fleet.layout.broker
        words = ("device", "add", device_id(WITNESS.public), WITNESS.public.hex())
        options = ("--config", broker / "broker.toml")
        log = self._directory / "made.log"
        assert self._keeper.run("broker", (*words, *options), log) == 0, log.read_text()

    def _add_aggregator(self) -> None:
        config = self.fleet.layout.broker_config
        text = config.read_text().replace('"fold"', '"audit"')
        config.write_text(text.replace("keep_rounds = 1", "keep_rounds = 0"))
        self._secure(config, self._authority.client("fedling-aggregator"))
        words = ("fedling_broker", "serve", "--config", config)
        self._add(AGGREGATOR, config, words)

    def _add_device(self, number: int, config: Path) -> None:
        words = ("fedling_agent.cli", "run", "--config", config)
        self._add(self.fleet.ids[number], config, words)
        state = self.machines[self.fleet.ids[number]].disk.root / "state"
        self.feeds.append(Feed(state))

    def _add(self, name: str, config: Path, words: tuple[object, ...]) -> None:
        """Put the state onto a disk of its own."""
        disk = Disk(self._directory / "disks" / name)
        shutil.copytree(config.parent / "state", disk.root / "state")
        disk.sync()
        shutil.rmtree(config.parent / "state")
        text = config.read_text()
        config.write_text(text.replace('"state"', f'"{disk.root}/state"'))
        log = self._directory / f"{name}.log"
        trouble = BadDisk(self._library, disk.root, self._directory / f"{name}.trouble")
        if (AGGREGATOR if name == AGGREGATOR else "device") in self._forgetful:
            trouble.be(Trouble.FORGETFUL)
        self.machines[name] = Machine(name, words, disk, trouble, log)

    def _secure(self, config: Path, pair: Pair) -> None:
        old = f'host = "{HOST}"\n'
        text = config.read_text()
        config.write_text(text.replace(old, old + mqtt_keys(self._authority, pair) + "\n"))

    def _listen(self, port: int) -> Witness:
        pair, topics = self._authority.client(device_id(WITNESS.public)), Topics("fedling", FLEET)
        mqtt = MqttSettings(
            HOST,
            port,
            tls=True,
            ca_file=self._authority.certificate,
            certificate_file=pair.certificate,
            key_file=pair.key,
        )
        trust = Trust(topics, self.fleet.root_key)
        return Witness(self.loop, mqtt, trust, WITNESS, TASK, self._on_heard)

    # --- while it runs ---------------------------------------------------------------------------

    def start(self) -> None:
        self.until(lambda: self.witness.link.answered, "the witness")
        for machine in self.machines.values():
            machine.start()
        for number in range(FALLIBLE, DEVICES):
            words = ("run", "--config", self.fleet.layout.config_of(number))
            self._keeper.start("agent", words, self._directory / f"{number}.log", forks=True)
        for feed in self.feeds:
            feed.start()

    def stop(self) -> list[int]:
        """All, in good order; the exit codes of the machines."""
        for feed in self.feeds:
            feed.end()
        self._keeper.stop_all(list(self._keeper.running))
        codes = [machine.stop() for machine in self.machines.values()]
        self.witness.ask()
        self.wait_for(lambda m: is_word_of(m, self.witness.id), "the last word on the wire")
        return codes

    def halt(self) -> None:
        """All at once, as they are; the disks stay."""
        for feed in self.feeds:
            feed.end()
        for machine in self.machines.values():
            if machine.runs:
                machine.kill()
        self._keeper.kill_all()

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Listen until something is true. Raises AssertionError with all logs."""

        def look_after_all() -> object:
            dead = [m.name for m in self.machines.values() if not m.look_after()]
            assert not dead, f"{dead} ended\n{self.logs()}"
            return condition()

        until(
            look_after_all,
            self.loop.turn,
            says=lambda: f"{what}\n{self.logs()}",
            look_s=0.02,
            patience_s=PATIENCE_S,
        )

    def wait_for(self, told: Callable[[Received], bool], what: str) -> None:
        """Listen until such a message comes."""
        came: list[bool] = []

        def listen(received: Received) -> None:
            if told(received):
                came.append(True)

        self._listeners.append(listen)
        try:
            self.until(lambda: came, what)
        finally:
            self._listeners.remove(listen)

    def pass_time(self, seconds: float) -> None:
        over: list[bool] = []
        self.loop.after(seconds, lambda: over.append(True))
        self.until(lambda: over, "time")

    def logs(self) -> str:
        return "\n".join(machine.tail() for machine in self.machines.values())

    def _on_heard(self, received: Received) -> None:
        for listener in list(self._listeners):
            listener(received)

    def __enter__(self) -> "Federation":
        return self

    def __exit__(self, *_: object) -> None:
        self.halt()
        self.witness.close()
        self._mosquitto.stop()
        for machine in self.machines.values():
            machine.disk.close()
        self.loop.close()
