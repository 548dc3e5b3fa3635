"""An aggregator whose state is kept in the middle of a round, and put back or moved later."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fedling_broker.mosquitto.process import Mosquitto
from fedling_broker.store.store import Store
from fedling_protocol.runtime.loop import Loop
from fedling_protocol.wire.messages import Answer, Plan, Receipt, Ticket, Update, Verdict
from tests.support.fleet import Aggregator, Device
from tests.support.waiting import until

GOAL = 3
FILE = "home.fedling"


class Moved(Aggregator):
    """The same aggregator in another place, where nothing of it is yet."""

    def __init__(self, directory: Path, root_key: Path) -> None:
        self.directory = directory
        self.process = None
        directory.mkdir()
        shutil.copy2(root_key, directory / "root.key")


class Story:
    """Three devices of a round that needs all of them, and some that come and go.

    left: was removed before the state was kept; leaves, comes: removed and added after it
    """

    def __init__(self, directory: Path, loop: Loop, mosquitto: Mosquitto) -> None:
        self.directory, self.loop, self.mosquitto = directory, loop, mosquitto
        self.aggregator = Aggregator(directory / "home", mosquitto.port)
        self.devices = [Device(loop, mosquitto.port, n) for n in range(1, GOAL + 1)]
        self.left, self.leaves, self.comes = (Device(loop, mosquitto.port, n) for n in (7, 8, 9))
        self.sent: list[tuple[Device, Update]] = []
        self.accepted: set[bytes] = set()  # hashes, by receipts
        self.under_way: dict[Device, Update] = {}  # made, and not sent
        for device in (*self.devices, self.left, self.leaves):
            self.aggregator.enrol(device)
        self.aggregator.add_task(rounds=1000, goal=GOAL)
        self.aggregator.run("device", "revoke", self.left.id)
        self.aggregator.start()
        for device in self.devices:
            device.wait_plan(1)

    @property
    def plan(self) -> Plan:
        """What the first device knows to be open."""
        plan = self.devices[0].plan
        assert plan is not None
        return plan

    # --- what devices do -------------------------------------------------------------------------

    def ask(self, device: Device) -> Ticket | Receipt:
        """Ask for a place in the open round; what answers an earlier question is passed over."""
        plan = self.plan
        while True:
            answer = device.ask(plan.plan_id)
            if answer.plan_id == plan.plan_id:
                return answer

    def take_place(self, device: Device) -> Update:
        """Get a ticket, and make an update that is not sent."""
        plan, answer = self.plan, self.ask(device)
        assert isinstance(answer, Ticket), answer
        assert answer.answer is Answer.GO
        step = 100 * (1 + self.devices.index(device)) + len(self.sent)
        self.under_way[device] = device.make_update(plan, step)
        return self.under_way[device]

    def deliver(self, device: Device) -> None:
        """A place, an update, its receipt."""
        update = self.under_way.get(device) or self.take_place(device)
        receipt = self.send(device, update)
        assert receipt.verdict is Verdict.ACCEPTED, receipt

    def send(self, device: Device, update: Update) -> Receipt:
        """Send an update until there is a receipt about it."""
        self.under_way.pop(device, None)
        self.sent.append((device, update))
        sealed = device.send_update(update)
        receipt = device.receipt_for(sealed, lambda: device.send_update(update))
        if Verdict.ACCEPTED in (receipt.verdict, receipt.of):
            self.accepted.add(sealed)
        return receipt

    def go_on(self) -> None:
        """Hold the open round to its end: who was accepted is told, who has an update sends it."""
        plan = self.plan
        for device in self.devices:
            update = self.under_way.get(device)
            if update is not None and update.plan_id != plan.plan_id:
                receipt = self.send(device, update)
                assert receipt.verdict is Verdict.REFUSED, receipt
                assert receipt.reason == "unknown plan"
            answer = self.ask(device)
            if isinstance(answer, Ticket):
                self.deliver(device)
            else:
                assert answer.verdict is Verdict.ACCEPTED, answer
        for device in self.devices:
            device.wait_plan(plan.round + 1)

    # --- what becomes of the state ---------------------------------------------------------------

    @property
    def state(self) -> Path:
        return self.aggregator.directory / "broker-state"

    def back_up(self) -> None:
        self.aggregator.run("backup", str(self.directory / FILE))

    def copy(self) -> None:
        """As `cp -a` does, of an aggregator that was stopped."""
        self.aggregator.stop()
        shutil.copytree(self.state, self.directory / "copy")
        self.begin_again()

    def put_copy_back(self) -> None:
        self.aggregator.stop()
        shutil.rmtree(self.state)
        shutil.copytree(self.directory / "copy", self.state)

    def put_in_place(self) -> None:
        self.aggregator.stop()
        self.aggregator.run("restore", str(self.directory / FILE), "--replace")

    def lose_disk(self) -> None:
        self.aggregator.kill()
        shutil.rmtree(self.state)
        self.aggregator.run("restore", str(self.directory / FILE))

    def move(self) -> None:
        """To another machine, which has another MQTT broker: that one has never heard of us."""
        self.aggregator.kill()
        key = self.aggregator.directory / "root.key"
        self.aggregator = Moved(self.directory / "elsewhere", key)
        self.aggregator.run("restore", str(self.directory / FILE))
        self.mosquitto.restart()

    def begin_again(self) -> None:
        """Start what was put back, and wait until devices have heard of it."""
        former = self.plan.epoch
        self.aggregator.start()

        def all_have_heard() -> bool:
            return all(d.plan is not None and d.plan.epoch > former for d in self.devices)

        until(all_have_heard, self.loop.turn, says=lambda: "a plan of a later epoch")

    # --- what is left ----------------------------------------------------------------------------

    def counted(self) -> list[tuple[int, str, bytes]]:
        """Round, device, hash of the update of each that is in a sum or will be."""
        store = Store(self.state)
        try:
            return [
                (plan.round, row.device, row.update_hash)
                for plan in store.rounds.plans("tiny")
                for row in store.rounds.decisions("tiny", plan.plan_id)
                if row.verdict == Verdict.ACCEPTED
            ]
        finally:
            store.close()

    def is_enrolled(self, device: Device) -> bool:
        """Whether it is told anything but that it is not."""
        answer = device.ask(self.plan.plan_id, key=True)
        return not (isinstance(answer, Ticket) and answer.reason == "not enrolled")

    def close(self) -> None:
        gone: list[Device] = []
        everybody = [*self.devices, self.left, self.leaves, self.comes]
        for device in everybody:
            device.link.stop(None, partial(gone.append, device))
        until(lambda: len(gone) == len(everybody), self.loop.turn, says=lambda: "goodbyes")
        self.aggregator.kill()
        print(self.aggregator.log_text()[-4000:])


Step = Callable[[Story], None]
