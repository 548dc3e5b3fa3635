"""An agent and an aggregator that were installed at different times hold rounds with each other."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from fedling_broker.mosquitto.process import Mosquitto
from fedling_broker.store.store import Store
from fedling_protocol.wire import identity
from fedling_protocol.wire.envelope import seal
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Certificate, Role
from fedling_protocol.wire.topics import Topics
from tests.support import earlier
from tests.support.agent import ROUNDS, TASK, Agent, rows
from tests.support.aggregator import ROOT
from tests.support.waiting import PATIENCE_S, until

AUTHORITY = SigningKey(b"A" * 32)


class Broker:
    """The aggregator of a tree, by its command line alone."""

    def __init__(self, tree: Path | None, directory: Path, port: int) -> None:
        directory.mkdir()
        self._directory = directory
        self._new = tree is None  # it has an authority
        self._words = earlier.words(tree, "fedling_broker")
        self._root = directory / "root.key"
        identity.create_key(self._root, ROOT)
        self.run("init", "--fleet", "test", "--port", str(port), "--root-key", str(self._root))
        (directory / "task.toml").write_text(TASK)
        self.run("task", "add", "task.toml")

    def run(self, *words: str) -> None:
        done = subprocess.run(
            [*self._words, *words], cwd=self._directory, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def enrol(self, device: str, key: str) -> None:
        by_root = () if self._new else ("--root-key", str(self._root))
        self.run("device", "add", device, key, *by_root)

    def certify_anew(self, device: str, key: str) -> None:
        """Have an authority say what the root said, as a fleet does that has one."""
        topics = Topics("fedling", "test")
        topic = topics.of(Kind.KEYS, device)
        made = Certificate(bytes.fromhex(key), Role.DEVICE, "test", device, 2**32 - 2, 1, 2**32 - 1)
        store = Store(self._directory / "broker-state")
        with store.database.transaction("a certificate") as connection:
            connection.execute(
                "UPDATE certificates SET serial = ?, envelope = ? WHERE id = ?",
                (made.serial, seal(made, topics.bound(topic), AUTHORITY), device),
            )
        store.close()

    @contextmanager
    def serving(self) -> Iterator[None]:
        with (self._directory / "serve.log").open("ab") as log:
            process = subprocess.Popen(
                [*self._words, "serve"], cwd=self._directory, stdout=log, stderr=log
            )
        try:
            yield
        finally:
            process.terminate()
            assert process.wait(PATIENCE_S) == 0
            print((self._directory / "serve.log").read_text()[-5000:])


def of_before(tree: Path, directory: Path, port: int) -> Agent:
    """An agent of a tree; it refuses a key that it does not know."""
    module = "fedling_agent.cli"
    prefix = earlier.words(tree, module)[:2]
    return Agent(directory, port, prefix=prefix, module=module, training="")


@contextmanager
def working(broker: Broker, agent: Agent) -> Iterator[None]:
    """Within, all rounds are over, the aggregator has ended, and the agent runs."""
    agent.run("ingest", "wrist", text=rows(6, 200))
    agent.start()
    try:
        with broker.serving():
            # The first one is of statistics.
            until(
                lambda: _accepted(agent) >= 1 + ROUNDS,
                says=lambda: agent.log_text()[-3000:],
                patience_s=PATIENCE_S,
            )
        yield
    finally:
        agent.kill()


@pytest.fixture(scope="session")
def before_enrolment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return earlier.unpack_before(earlier.BEGAN_ENROLMENT, tmp_path_factory.mktemp("before"))


@pytest.fixture(scope="session")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return earlier.unpack_before(earlier.BEGAN_TLS, tmp_path_factory.mktemp("before"))


@pytest.mark.long
@pytest.mark.parametrize("old", ["agent", "aggregator"])
def test_rounds_of_two_ages(mosquitto: Mosquitto, tmp_path: Path, before: Path, old: str) -> None:
    broker = Broker(before if old == "aggregator" else None, tmp_path / "broker", mosquitto.port)
    make = partial(of_before, before) if old == "agent" else Agent
    agent = make(tmp_path / "device", mosquitto.port)
    facts = agent.json("init")
    broker.enrol(facts["device"], facts["key"])
    with working(broker, agent):
        broker.run("round", "verify", "--all")


@pytest.mark.long
def test_an_agent_of_before_takes_part_though_it_cannot_read_its_certificate(
    mosquitto: Mosquitto, tmp_path: Path, before_enrolment: Path
) -> None:
    """The authority signed it, whom it does not know: it shows its key, and is answered."""
    broker = Broker(None, tmp_path / "broker", mosquitto.port)
    agent = of_before(before_enrolment, tmp_path / "device", mosquitto.port)
    facts = agent.json("init")
    broker.enrol(facts["device"], facts["key"])
    broker.certify_anew(facts["device"], facts["key"])
    with working(broker, agent):
        assert agent.status()["counters"]["refused: unknown key"] > 0


def _accepted(agent: Agent) -> int:
    verdicts = agent.status().get("tasks", {}).get("watch", {}).get("verdicts", {})
    assert set(verdicts) <= {"accepted"}
    return int(verdicts.get("accepted", 0))


@pytest.mark.parametrize("file", [earlier.BEGAN_TLS, "no/such/file"])
def test_without_the_past_it_says_so_and_fails_in_ci(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    """In a folder that is no clone, and in a clone that has never had the file."""
    if file == earlier.BEGAN_TLS:
        monkeypatch.setattr(earlier, "ROOT", tmp_path)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no git history here"):
        earlier.unpack_before(file, tmp_path)
