"""A whole fleet on this machine: MQTT broker, aggregator, devices, and the network between."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from fedling_broker.mosquitto.configuration import Tls
from fedling_broker.mosquitto.process import Mosquitto, free_port
from fedling_protocol.exits import Exit
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.token import Token
from fedling_sim import calibration
from fedling_sim.aggregator import Aggregator
from fedling_sim.calibration import Calibration
from fedling_sim.chaos.proxy import Proxy
from fedling_sim.device import Device, DeviceFailed, Surroundings
from fedling_sim.process import ChildDied
from fedling_sim.simulation import Scenario
from fedling_sim.splitting import DeviceData
from fedling_sim.world import Trace, Weather

FLEET = "sim"
FINE = Weather(mains=True, battery=100, temperature=40, network=True)
CONNECT_S = 60.0  # a laptop starts twenty agents in a few seconds
POLL_S = 0.05
PACE = (0.8, 1.2)  # some devices are faster than others

Say = Callable[[str], None]


def silent(_what: str) -> None:
    """Say nothing, where nobody listens."""


class Federation:
    """`with Federation(...) as federation:` everything is prepared; leaving it ends everything."""

    def __init__(
        self,
        scenario: Scenario,
        data: list[DeviceData],
        directory: Path,
        say: Say = silent,
        *,
        plain: bool = False,
    ) -> None:
        """plain: TCP without TLS, devices certified by hand, to measure what both cost"""
        self.scenario = scenario
        self.directory = directory
        self.devices: list[Device] = []
        self._data = data
        self._say = say
        self._plain = plain
        self._ports = free_port(), free_port()
        self._mosquitto: Mosquitto | None = None
        self._proxy: Proxy | None = None
        self._aggregator: Aggregator | None = None

    @property
    def aggregator(self) -> Aggregator:
        """The aggregator of this fleet."""
        assert self._aggregator is not None
        return self._aggregator

    @property
    def proxy(self) -> Proxy:
        """The proxy between the devices and the MQTT broker."""
        assert self._proxy is not None
        return self._proxy

    def __enter__(self) -> "Federation":
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _prepare(self) -> None:
        mqtt, enrolment = self._ports
        self._proxy = Proxy(mqtt)
        self._aggregator = Aggregator(
            self.directory / "aggregator", self.scenario, self._ports, FLEET, plain=self._plain
        )
        keys = [self._key(data) for data in self._data]
        token = self.aggregator.prepare(len(keys))
        tls = None if self._plain else Tls(str(self.aggregator.files.absolute()), enrolment)
        self._mosquitto = Mosquitto(self.directory / "mosquitto", mqtt, tls=tls)
        self._mosquitto.start()
        costs = calibration.measure(self.scenario.task.spec, self.scenario.task.training)
        for number, (data, key) in enumerate(zip(self._data, keys, strict=True)):
            self._add(number, data, key, costs)
        if self._plain:
            self.aggregator.certify(keys)
            self.aggregator.process.start()
        else:
            self._enroll(token)
        self._say(f"{len(self.devices)} devices store their recordings")
        self._all_at_once(self._ingest)

    def _enroll(self, token: Token) -> None:
        self._say(f"{len(self.devices)} devices enrol by a token, over TLS")
        self.aggregator.process.start()
        self._all_at_once(partial(Device.enroll, token=token.text()))

    def _key(self, data: DeviceData) -> SigningKey:
        return SigningKey(self.scenario.secret("device key", data.name))

    def _add(self, number: int, data: DeviceData, key: SigningKey, costs: Calibration) -> None:
        secret = self.scenario.secret("device secret", data.name)
        place = Surroundings(
            self.directory / "devices" / data.name,
            self.proxy.add(data.name),
            FLEET,
            self.aggregator.root.public,
            self.scenario.simulation.stream,
        )
        trace = Trace(self.scenario.seed, number, self.scenario.simulation.climate)
        device = Device(data, place, key, secret, trace)
        seconds = self.scenario.simulation.training_s * _pace(secret)
        device.prepare(costs.duty(data.windows, self.scenario.task.training, seconds))
        device.show(trace.at(0))
        self.devices.append(device)

    def _all_at_once(self, do: Callable[[Device], None]) -> None:
        """Have every device do it, as many at once as there are cores. Raises DeviceFailed."""
        pool = ThreadPoolExecutor(os.cpu_count() or 1)
        try:
            list(pool.map(do, self.devices))
        finally:
            pool.shutdown(cancel_futures=True)

    def _ingest(self, device: Device) -> None:
        done = device.ingest(self.scenario.task.spec.stream)
        if done.returncode not in (Exit.OK, Exit.SOME_REFUSED):
            raise DeviceFailed(f"{device.name}: ingest: {done.stdout.strip()}")

    # --- while it runs ---------------------------------------------------------------------------

    def start(self) -> None:
        """Start the devices first, so that the first round does not wait for them."""
        for device in self.devices:
            device.process.start()
        self._wait_for(lambda d: d.is_connected(), CONNECT_S)
        self.aggregator.add_task()

    def weather(self, second: float) -> None:
        """Let every device have what its trace says of this second."""
        for device in self.devices:
            self._expose(device, device.trace.at(second))

    def fair_weather(self) -> None:
        """Give power and network to all devices."""
        for device in self.devices:
            self._expose(device, FINE)

    def _expose(self, device: Device, weather: Weather) -> None:
        before = device.weather
        device.show(weather)
        if before is None or before.network != weather.network:
            (self.proxy.mend if weather.network else self.proxy.cut)(device.name)

    def check(self) -> None:
        """Look at all processes. Raises ChildDied when one has ended by itself."""
        mosquitto = self._mosquitto
        if mosquitto is not None and not mosquitto.running:
            raise ChildDied(f"mosquitto ended; the end of its log:\n{mosquitto.log_tail()}")
        self.aggregator.process.check()
        for device in self.devices:
            device.process.check()

    def wait_for_model(self, version: int, patience_s: float) -> None:
        """Wait until every device holds this version. Raises ChildDied, DeviceFailed."""
        task = self.scenario.task.name
        self._wait_for(lambda d: d.model_version(task) >= version, patience_s)

    def wait_for_receipts(self, patience_s: float) -> None:
        """Wait until every finished update is decided. Raises ChildDied, DeviceFailed."""
        task = self.scenario.task.name
        self._wait_for(lambda d: d.owes_nothing(task), patience_s)

    def _wait_for(self, condition: Callable[[Device], bool], patience_s: float) -> None:
        deadline = time.monotonic() + patience_s
        waiting = list(self.devices)
        while waiting:
            self.check()
            waiting = [device for device in waiting if not condition(device)]
            if waiting and time.monotonic() > deadline:
                names = ", ".join(device.name for device in waiting)
                raise DeviceFailed(f"waited {patience_s:.0f} s in vain for {names}")
            time.sleep(POLL_S)

    def stop(self) -> None:
        """End devices and aggregator in order; their stores can be read after it."""
        for device in self.devices:
            device.ask_to_stop()
        for device in self.devices:
            device.process.wait()
        if self._aggregator is not None:
            self._aggregator.process.ask_to_stop()
            self._aggregator.process.wait()

    def close(self) -> None:
        """End everything that runs; a second time is harmless."""
        self.stop()
        if self._aggregator is not None:
            self._aggregator.close()
        if self._proxy is not None:
            self._proxy.close()
            self._proxy = None
        if self._mosquitto is not None:
            self._mosquitto.stop()


def _pace(secret: bytes) -> float:
    slow, fast = PACE
    return slow + (fast - slow) * secret[0] / 255
