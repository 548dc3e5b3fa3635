"""Commands of root on a state that another user keeps: every verb, every name in the state."""

import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from fedling_broker.cli import build_parser
from fedling_protocol.exits import Exit
from fedling_protocol.wire import identity
from fedling_protocol.wire.identity import SigningKey, device_id
from tests.support import as_root
from tests.support.as_root import NOBODY, Ended, Root
from tests.support.rounds_on_disk import TEXT

KEY, OTHER = (SigningKey(seed * 32).public for seed in (b"n", b"o"))
STATE = "broker-state"

# A line of each verb; `serve` has a test of its own. In closed/ is what root alone can reach.
LINES = {
    "init": "init --fleet test --root-key closed/root.key",
    "check": "check",
    "status": "status",
    "task add": "task add closed/tiny.toml",
    "task check": "task check closed/tiny.toml",
    "task update": "task update tiny closed/tiny.toml",
    "task list": "task list",
    "task show": "task show tiny",
    "task pause": "task pause tiny",
    "task resume": "task resume tiny",
    "authority init": "authority init --root-key closed/root.key",
    "authority show": "authority show",
    "authority certify": f"authority certify {device_id(OTHER)} {OTHER.hex()} --to closed/x",
    "authority rotate": "authority rotate authority --root-key closed/root.key",
    "device invite": "device invite",
    "device add": f"device add {device_id(KEY)} {KEY.hex()}",
    "device list": "device list",
    "device pending": "device pending",
    "round list": "round list",
    "round show": "round show tiny 1",
    "round verify": "round verify --all",
    "model list": "model list tiny",
    "model weights": "model weights tiny closed/model.bin",
    "model rollback": "model rollback tiny 1",
    "export": "export tiny --onnx closed/model.onnx",
    "backup": "backup closed/home.fedling",
    "restore": "restore closed/home.fedling --replace",
    "device revoke": f"device revoke {device_id(KEY)}",
    "authority take-root": "authority take-root closed/taken.key",
    "task remove": "task remove tiny",
}
FAILING = {"check", "round show", "authority take-root"}  # no MQTT broker, round, root key
WRITERS = ["init", "device add", "device revoke", "device invite", "task pause", "backup"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder of root's with a closed one, and the state of another user."""
    as_root.need_root()
    with as_root.open_folder() as folder:
        (folder / "closed").mkdir(mode=0o700)
        (folder / "closed" / "tiny.toml").write_text(TEXT)
        (folder / "closed" / "tiny.toml").chmod(0o600)
        identity.create_key(folder / "closed" / "root.key")
        (folder / STATE).mkdir(mode=0o700)
        os.chown(folder / STATE, NOBODY, NOBODY)
        yield folder


@pytest.fixture
def root(folder: Path) -> Iterator[Root]:
    root = Root("fedling_broker", folder)
    yield root
    root.close()


def run(root: Root, names: Iterable[str]) -> dict[str, Ended]:
    return {name: root(*LINES[name].split()) for name in names}


def test_every_verb_has_a_line() -> None:
    """`up` and `setup` run programs, and have tests of their own, as `serve` has."""
    assert set(as_root.verbs(build_parser())) == {*LINES, "serve", "up", "setup"}


def test_no_verb_leaves_a_file_of_roots(folder: Path, root: Root) -> None:
    pytest.importorskip("onnx")
    for name in LINES:
        (ended,) = run(root, [name]).values()
        assert (ended.code == Exit.OK) == (name not in FAILING), ended
        assert as_root.strangers(folder / STATE) == [], name
    made = [folder / "broker.toml", *(folder / "closed").iterdir()]
    assert {path.stat().st_uid for path in made} == {0}
    assert {path.name for path in made} >= {"model.bin", "model.onnx", "home.fedling", "root.key"}


def test_service_of_roots_runs_as_who_keeps_the_state(folder: Path, root: Root) -> None:
    run(root, ["init"])
    (folder / STATE / "secret").unlink()
    ended = root("serve")  # it ends where it reads its keys: as who, is what that file tells
    assert ended.code == Exit.BAD_CONFIG, ended
    assert as_root.strangers(folder / STATE) == []
    (folder / "closed" / "secret").write_bytes(os.urandom(32))
    (folder / "closed" / "secret").chmod(0o600)
    (folder / STATE / "secret").symlink_to(folder / "closed" / "secret")
    assert "Permission denied" in root("serve").said


def test_no_link_in_the_state_leads_root_anywhere(folder: Path, root: Root) -> None:
    """Each name that a state has, as a link that its owner made to what is root's alone."""
    run(root, ["init", "task add"])
    state, treasure = folder / STATE, folder / "treasure"
    names = {str(path.relative_to(state)) for path in state.rglob("*")}
    names |= {"broker.lock", "notices.json", "restoring", "replaced-1"}
    names |= {f"fedling-broker.sqlite-{end}" for end in ("wal", "shm", "journal")}
    as_root.fill(treasure)
    before = as_root.snapshot(treasure)
    for name, target in itertools.product(sorted(names), ["bait", "folder", "none"]):
        with as_root.planted(state / name, treasure / target):
            ended = run(root, WRITERS)
        assert as_root.snapshot(treasure) == before, name
        assert [one for one in ended.values() if one.code == as_root.BUG] == [], name
    for path in [folder / "closed" / "home.fedling", *state.rglob("*")]:
        assert b"a treasure of root's" not in (path.read_bytes() if path.is_file() else b"")


def test_umask_of_root_decides_nothing(folder: Path, root: Root) -> None:
    """The service's user must be able to read broker.toml."""
    before = os.umask(0o077)
    try:
        with_umask = Root("fedling_broker", folder)
        assert with_umask(*LINES["init"].split()).code == Exit.OK
        with_umask.close()
    finally:
        os.umask(before)
    assert (folder / "broker.toml").stat().st_mode & 0o777 == 0o644
    assert root("task", "list").code == Exit.OK
