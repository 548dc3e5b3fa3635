"""Commands of root on a state that another user keeps: every verb, every name in the state."""

import itertools
import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from fedling_agent.cli import build_parser
from fedling_protocol.exits import Exit
from tests.support import as_root
from tests.support.agent import Agent, rows
from tests.support.as_root import NOBODY, Ended, Root
from tests.support.hand_fleet import COMMAND, HandFleet

NOWHERE = 1  # a port that nobody listens on

# A line of each verb; `run` and `enroll` have tests of their own, and `stream` has no state.
LINES = {
    "init": ["init"],
    "status": ["status"],
    "conditions": ["conditions"],
    "pause": ["pause", "2h"],
    "resume": ["resume"],
    "check": ["check"],
    "diag": ["diag", "-"],
    "ingest": ["ingest", "wrist", "closed/day.csv"],
    "recordings list": ["recordings", "list"],
    "label": ["label", "wrist", "wave", "--past", "60s"],
    "recordings forget": ["recordings", "forget", "wrist", "--all"],
    "predict": ["predict", "closed/day.csv"],
    "sent": ["sent"],
    "replay": ["replay"],
}
WRITERS = ["init", "ingest", "label", "recordings forget", "pause", "status"]


@pytest.fixture
def agent() -> Iterator[Agent]:
    """A device whose state is another user's, with what only root can read beside it."""
    as_root.need_root()
    with as_root.open_folder() as folder:
        agent = Agent(folder / "device", NOWHERE, prefix=as_root.weak())
        prepare(agent)
        yield agent


def prepare(agent: Agent) -> None:
    closed = agent.directory / "closed"
    closed.mkdir(mode=0o700)
    (closed / "day.csv").write_text(rows(1, 20))
    (closed / "day.csv").chmod(0o600)
    agent.state.mkdir(mode=0o700)
    os.chown(agent.state, NOBODY, NOBODY)


@pytest.fixture
def root(agent: Agent) -> Iterator[Root]:
    root = Root("fedling_agent", agent.directory)
    yield root
    root.close()


def run(root: Root, names: Iterable[str]) -> dict[str, Ended]:
    return {name: root(*LINES[name], "--config", "agent.toml") for name in names}


def test_every_verb_has_a_line() -> None:
    assert set(as_root.verbs(build_parser())) == {
        *LINES,
        "run",
        "enroll",
        "stream add",
        "stream new",
    }


def test_no_verb_leaves_a_file_of_roots(agent: Agent, root: Root) -> None:
    ended = run(root, LINES)
    assert as_root.strangers(agent.state) == []
    failing = {name for name, one in ended.items() if one.code != Exit.OK}
    assert failing == {"check", "predict"}, ended  # no MQTT broker, no model
    assert {path.name for path in agent.state.iterdir()} >= {"store.db", "device.key", "models"}


def npy(kind: str, shape: str, data: bytes) -> bytes:
    """An array as numpy saves it: devices have none."""
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header + data


def test_arrays_that_only_root_can_read_are_stored(agent: Agent, root: Root) -> None:
    path = agent.directory / "closed" / "day.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", npy("<f4", "(20, 2)", bytes(20 * 2 * 4)))
        file.writestr("y.npy", npy("<U4", "(20,)", 20 * "walk".encode("utf-32-le")))
    path.chmod(0o600)
    assert run(root, ["init"])["init"].code == Exit.OK
    ended = root("ingest", "wrist", "closed/day.npz", "--config", "agent.toml")
    assert (ended.code, "20 rows" in ended.said) == (Exit.OK, True), ended


def test_service_of_roots_runs_as_who_keeps_the_state(agent: Agent) -> None:
    agent.serve()
    assert agent.process is not None
    status = Path(f"/proc/{agent.process.pid}/status").read_text()
    assert f"Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}" in status
    assert as_root.strangers(agent.state) == []
    assert agent.stop() == Exit.OK
    assert as_root.strangers(agent.state) == []


@pytest.mark.parametrize("umask", ["022", "077"])
def test_root_enrols_a_device_that_another_user_keeps(tmp_path: Path, umask: str) -> None:
    """Keys and certificates are that user's, agent.toml is root's and can be read, and reached."""
    as_root.need_root()
    with as_root.open_folder() as folder, HandFleet(tmp_path / "fleet") as fleet:
        state, file = folder / "state", folder / "etc" / "fedling" / "agent.toml"
        state.mkdir(mode=0o700)
        os.chown(state, NOBODY, NOBODY)
        words = ("enroll", fleet.invite().text(), "--config", str(file), "--state", str(state))
        shell = ["sh", "-c", f'umask {umask}; exec "$@"', "sh"]
        said = fleet.run(*words, program=[*shell, *as_root.weak(), *COMMAND]).stdout
        assert "enrolled in home" in said
        assert as_root.strangers(state) == []
        assert {path.name for path in state.iterdir()} >= {"tls.pem", "device.key", "ca.crt"}
        found = file.stat()
        assert (found.st_uid, found.st_mode & 0o777) == (0, 0o644)
        assert {path.stat().st_mode & 0o777 for path in file.parents[:2]} == {0o755}


def test_root_is_told_what_the_service_could_not_read(agent: Agent, root: Root) -> None:
    """Root's `check` said "ok" of files that the service's user cannot open."""
    run(root, ["init"])
    (agent.directory / "wrist.toml").chmod(0o600)
    said = root("check", "--config", "agent.toml")
    assert "wrist.toml: cannot be read: Permission denied" in said.said
    agent.config.chmod(0o600)
    for name in LINES:
        ended = root(*LINES[name], "--config", "agent.toml")
        # A report of a fault is written all the same.
        assert ended.code == (Exit.OK if name == "diag" else Exit.BAD_CONFIG), ended
        assert "user nobody, who keeps the state, cannot read it; run: chmod 644" in ended.said


def test_no_link_in_the_state_leads_root_anywhere(agent: Agent, root: Root) -> None:
    """Each name that a state has, as a link that its owner made to what is root's alone."""
    run(root, ["init", "ingest"])
    names = {str(path.relative_to(agent.state)) for path in agent.state.rglob("*")}
    names |= {"agent.sock", "store.db-wal", "store.db-shm", "store.db-journal"}
    treasure = agent.directory / "treasure"
    as_root.fill(treasure)
    before = as_root.snapshot(treasure)
    for name, target in itertools.product(sorted(names), ["bait", "folder", "none"]):
        with as_root.planted(agent.state / name, treasure / target):
            ended = run(root, WRITERS)
        assert as_root.snapshot(treasure) == before, name
        bugs = [one for one in ended.values() if one.code == as_root.BUG]
        assert bugs == [], name
