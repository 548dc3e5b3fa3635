"""A device whose card is put back as it was at some instant, long before or a moment ago."""

import os
import shutil
from pathlib import Path

from fedling_agent.store.store import Store as DeviceStore
from fedling_broker.store.store import Store
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.wire.messages import Verdict
from tests.support.agent import Agent, rows
from tests.support.aggregator import ROOT as OTHER_ROOT
from tests.support.crash.keeper import HERE
from tests.support.crash.sitecustomize import AT, COUNT, RECORD
from tests.support.fleet import ROOT, Aggregator, Device
from tests.support.waiting import until

LABELS = {"label 0": "up", "label 1": "down", "label 2": "still"}
TASK = "tiny"


class Heard(Device):
    """A device by script that keeps what it was told, to the byte."""

    def __init__(self, loop: Loop, port: int, number: int) -> None:
        super().__init__(loop, port, number)
        self.plans: list[tuple[str, bytes]] = []

    def on_message(self, topic: str, payload: bytes, emptied: bool) -> None:
        if "/plan/" in topic and payload:
            self.plans.append((topic, payload))
        super().on_message(topic, payload, emptied)


class Story:
    """A real device and one by script, in rounds that need both."""

    def __init__(self, directory: Path, loop: Loop, agent: Agent, port: int) -> None:
        self.directory, self.loop, self.agent = directory, loop, agent
        self.aggregator = Aggregator(directory / "home", port)
        self.other = Heard(loop, port, 5)
        config = agent.config.read_text()
        agent.config.write_text(config.replace(OTHER_ROOT.public.hex(), ROOT.public.hex()))
        facts = agent.json("init")
        self.id = str(facts["device"])
        table = rows(6, 40)
        for old, new in LABELS.items():
            table = table.replace(old, new)
        agent.run("ingest", "wrist", text=table)
        self.aggregator.run("device", "add", self.id, str(facts["key"]))
        self.aggregator.enrol(self.other)
        self.aggregator.add_task(rounds=1000, goal=2)
        self.aggregator.start()
        self.other.wait_plan(1)

    # --- its card --------------------------------------------------------------------------------

    def take_image(self, at: int) -> str:
        """Kill the device at the at-th point where a crash could hurt, and copy its state.

        The name of the point; empty: the round was over before.
        """
        count = self.directory / "points"
        self.agent.start(
            PYTHONPATH=os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]),
            **{COUNT: str(count), AT: str(at)},
        )
        process = self.agent.process
        assert process is not None
        until(
            lambda: process.poll() is not None or self.accepted(),
            self.loop.turn,
            says=lambda: "a point",
        )
        reached = process.poll() is not None
        self.agent.kill()
        socket = shutil.ignore_patterns("*.sock")
        shutil.copytree(self.agent.state, self.directory / "image", ignore=socket)
        name = count.read_bytes()[-RECORD:].decode().strip()
        self.agent.start()
        return name if reached else ""

    def put_back(self) -> None:
        self.agent.kill()
        shutil.rmtree(self.agent.state)
        shutil.copytree(self.directory / "image", self.agent.state)
        self.agent.start()

    # --- rounds ----------------------------------------------------------------------------------

    def hold(self, rounds: int) -> None:
        """So many more, in which both take part."""
        for _ in range(rounds):
            plan = self.other.plan
            assert plan is not None
            self.other.deliver(self.other.make_update(plan, plan.round))
            self.other.wait_plan(plan.round + 1)

    def replay_plans(self, but_last: int) -> None:
        """As an MQTT broker can that keeps what it should have replaced."""
        for topic, payload in self.other.plans[:-but_last]:
            self.other.link.publish(topic, payload, retain=True)

    def accepted(self) -> list[tuple[int, bytes]]:
        """Rounds and hashes of the device's updates that count."""
        store = Store(self.aggregator.directory / "broker-state")
        try:
            return [
                (plan.round, row.update_hash)
                for plan in store.rounds.plans(TASK)
                for row in store.rounds.decisions(TASK, plan.plan_id)
                if row.device == self.id and row.verdict == Verdict.ACCEPTED
            ]
        finally:
            store.close()

    # --- the device ------------------------------------------------------------------------------

    def version(self) -> int:
        """Of the newest model that the device knows; 0: none."""
        model = self.agent.status().get("tasks", {}).get(TASK, {}).get("model")
        return 0 if model is None else int(model["version"])

    def spool(self) -> list[object] | None:
        """What waits for a receipt, as the running service says."""
        task = self.agent.status().get("tasks", {}).get(TASK)
        return None if task is None else list(task["spool"])

    def newest(self) -> int:
        store = Store(self.aggregator.directory / "broker-state")
        try:
            return store.models.newest(TASK).version
        finally:
            store.close()

    def left_open(self) -> list[str]:
        """Plans of the device that have no end; it has ended."""
        store = DeviceStore(self.agent.state, read_only=True)
        try:
            spooled = [f"spooled {entry.plan_id.hex()}" for entry in store.spool.entries(TASK)]
            return spooled + [f"in work {r.plan.plan_id.hex()}" for r in store.plans.in_work(TASK)]
        finally:
            store.close()

    def close(self) -> None:
        gone: list[bool] = []
        self.other.link.stop(None, lambda: gone.append(True))
        until(lambda: gone, self.loop.turn, says=lambda: "a goodbye")
        self.aggregator.kill()
        print(self.aggregator.log_text()[-3000:])
