"""History breaks between real processes: the fleet goes on by itself, and nothing old answers."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedling_broker.mosquitto.process import Mosquitto
from fedling_broker.store.store import Store
from tests.support.agent import Agent
from tests.support.aggregator import ROOT as OTHER_ROOT
from tests.support.fleet import ROOT, Aggregator
from tests.support.waiting import until

LABELS = ("up", "down", "still")
LINES = "recording,label,x,y\n" + "".join(
    f"r{n},{label},{k % 7 + 9 * n},{k % 5}\n" for n, label in enumerate(LABELS) for k in range(40)
)
WINDOW = "x,y\n" + "1,2\n" * 4


class Pair:
    """An aggregator and a device on one MQTT broker."""

    def __init__(self, directory: Path, agent: Agent, port: int) -> None:
        self.aggregator = Aggregator(directory / "aggregator", port)
        self.state = directory / "aggregator" / "broker-state"
        self.agent = agent
        text = agent.config.read_text().replace(OTHER_ROOT.public.hex(), ROOT.public.hex())
        agent.config.write_text(text)
        facts = agent.json("init")
        self.device = str(facts["device"]), str(facts["key"])
        agent.run("ingest", "wrist", text=LINES)
        self.aggregator.run("device", "add", *self.device)
        self.aggregator.add_task(rounds=2, goal=1)
        self.aggregator.start()
        agent.start()

    def folded(self) -> int:
        store = Store(self.state)
        try:
            return store.models.folded("tiny") if store.tasks.find("tiny") else 0
        finally:
            store.close()

    def wait(self, rounds: int) -> None:
        """Until so many rounds are done, and the device has what came of them."""

        def done() -> bool:
            assert self.agent.process is not None
            assert self.agent.process.poll() is None
            return self.folded() >= rounds and self.settled()

        until(done, says=self.agent.log_text)

    def settled(self) -> bool:
        store = Store(self.state)
        newest = store.models.newest("tiny").model_hash.hex()
        store.close()
        model = self.agent.status().get("tasks", {}).get("tiny", {}).get("model")
        return model is not None and model["hash"] == newest

    def write(self, *changed: tuple[str, str]) -> str:
        """The task's file, changed."""
        path = self.aggregator.directory / "tiny.toml"
        text = path.read_text()
        for old, new in changed:
            assert old in text
            text = text.replace(old, new)
        path.write_text(text)
        return str(path)

    def answer(self) -> dict[str, object]:
        found: dict[str, object] = self.agent.json("predict", text=WINDOW)
        return found


@pytest.fixture
def pair(tmp_path: Path, make_agent: Callable[..., Agent], mosquitto: Mosquitto) -> Iterator[Pair]:
    pair = Pair(tmp_path, make_agent(), mosquitto.port)
    yield pair
    pair.aggregator.kill()
    print(pair.aggregator.log_text()[-5000:])


def test_a_task_is_removed_and_added_again(pair: Pair) -> None:
    """Other layers, other labels; without a word to the device."""
    pair.wait(2)
    assert pair.answer()["model"] == 3
    path = pair.write(
        ("layers = [5, 3]", "layers = [7, 2]"), ('"up", "down", "still"', '"still", "up"')
    )
    pair.aggregator.run("task", "remove", "tiny")
    pair.aggregator.run("task", "add", path)
    pair.wait(2)
    answer = pair.answer()
    assert answer["model"] == 3
    assert list(answer["probabilities"]) == ["still", "up"]  # type: ignore[call-overload]
    pair.aggregator.run("round", "verify", "--all")
    pair.aggregator.run("task", "remove", "tiny")
    until(lambda: pair.agent.status().get("tasks") == {})
    assert pair.agent.run("predict", text=WINDOW, code=4).stderr.endswith("no model yet\n")


@pytest.mark.parametrize("how", ["cp", "backup"])
def test_an_old_state_is_put_back(pair: Pair, tmp_path: Path, how: str) -> None:
    pair.wait(2)
    file = str(tmp_path / "home.fedling")
    if how == "backup":
        pair.aggregator.run("backup", file)  # while it runs
    else:
        pair.aggregator.stop()
        shutil.copytree(pair.state, tmp_path / "copy")
        pair.aggregator.start()
    more = pair.write(("rounds = 2", "rounds = 5"))
    pair.aggregator.run("task", "update", "tiny", more)
    pair.wait(5)
    pair.aggregator.stop()
    if how == "backup":
        pair.aggregator.run("restore", file, "--replace")
    else:
        shutil.rmtree(pair.state)
        shutil.copytree(tmp_path / "copy", pair.state)
    pair.aggregator.start()
    pair.aggregator.run("task", "update", "tiny", pair.write(("rounds = 5", "rounds = 4")))
    pair.wait(4)
    assert pair.answer()["model"] == 5
    pair.aggregator.run("round", "verify", "--all")
    assert "is a copy" in pair.aggregator.log_text()


def test_the_disk_is_lost_but_not_the_root_key(pair: Pair) -> None:
    pair.wait(2)
    pair.aggregator.kill()
    shutil.rmtree(pair.state)
    pair.aggregator.run("init")
    pair.aggregator.run("device", "add", *pair.device)
    pair.aggregator.run("task", "add", pair.write(("layers = [5, 3]", "layers = [6, 3]")))
    pair.aggregator.start()
    pair.wait(2)
    assert pair.answer()["model"] == 3
    assert pair.agent.status().get("enrolled") is True


def test_a_removed_device_is_told(pair: Pair) -> None:
    pair.wait(2)
    pair.aggregator.run("device", "revoke", pair.device[0])
    until(lambda: pair.agent.status().get("enrolled") is False)
    said = pair.agent.run("status").stdout
    assert "revoked: fleet test has put this device out" in said
    assert "refused: size" not in pair.agent.json("status")["counters"]


@pytest.mark.long
def test_every_key_is_replaced_while_a_device_is_away(pair: Pair) -> None:
    """It follows the chain of roots, and goes on as the device that it was."""
    pair.wait(2)
    pair.agent.kill()
    pair.aggregator.stop()
    keys = [pair.aggregator.directory / "root.key", pair.state / "authority" / "root.key"]
    old, new = keys
    for which, root in (("authority", old), ("root", old), ("aggregator", new)):
        pair.aggregator.run("authority", "rotate", which, "--root-key", str(root))
    pair.aggregator.run("authority", "rotate", "authority")
    pair.aggregator.start()
    pair.aggregator.run("task", "update", "tiny", pair.write(("rounds = 2", "rounds = 4")))
    pair.agent.start()
    pair.wait(4)
    (device,) = pair.aggregator.json("device", "list")
    assert (device["device"], device["accepted"]) == (pair.device[0], 4)
