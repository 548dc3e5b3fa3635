"""Every file of both state directories is zeroed, cut, flipped, replaced by a folder, removed.

In the middle of a round, at rest or under the running services. Always: it works; or a task is
stopped, or a process ends with a documented code, and a sentence names the file; a device goes on
by itself in any case, and whatever stopped goes on when the file is put back.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from zlib import crc32

import pytest

from fedling_broker.store.database import FILE
from fedling_protocol.exits import Exit
from tests.support.hurt.damage import DAMAGES, DamagedFleet, put_back

Damage = Callable[[Path], None]
SAMPLE = 24  # one case of so many is a quick test


@pytest.fixture(scope="module")
def count(tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many files there are."""
    fleet = DamagedFleet(tmp_path_factory.mktemp("count"))
    fleet.begin()
    fleet.stop()
    found = fleet.files()
    kinds = {path.parent.name for path in found}
    assert {"models", "states", "updates", "frozen", "spool"} & kinds == {
        "models", "states", "updates", "frozen", "spool",
    }, kinds  # fmt: skip
    return len(found)


def cases(count: int) -> Iterator[tuple[int, Damage, bool]]:
    for number in range(count):
        for damage in DAMAGES:
            for at_rest in (True, False):
                yield number, damage, at_rest


def hurt(directory: Path, number: int, damage: Damage, *, at_rest: bool) -> str:
    """One case; what came of it."""
    fleet = DamagedFleet(directory)
    fleet.begin()
    if at_rest:
        fleet.stop()
    path = fleet.files()[number]
    of_device = path.is_relative_to(fleet.nodes[1]._directory)
    kept = path.read_bytes()
    name = path.relative_to(fleet.fleet.directory)
    try:
        damage(path)
        outcome = fleet.go_on(limit_s=1800.0)
        if not at_rest:  # what nobody looked at is met by the next process
            fleet.stop()
            fleet.ends.clear()
            outcome = fleet.go_on()
        fleet.status()
        assert [member.id for member in fleet.fleet.members] == fleet.identities
        if of_device:
            assert outcome.whole, outcome
            assert outcome.codes <= {Exit.CANNOT_WRITE}, outcome
            return "works"
        if outcome.whole:
            return "works"
        if path.name.endswith(("-wal", "-shm")):  # SQLite takes what is whole of it: an older state
            return "older"
        assert any(path.name in words for words in outcome.said), outcome
        assert path.name != FILE or outcome.codes <= {Exit.BAD_CONFIG}, outcome
        fleet.stop()
        put_back(path, kept)
        assert fleet.go_on().whole, f"not even when it is put back: {outcome}"
        return "stopped and named"
    except BaseException as error:
        error.add_note(f"{name} {damage.__name__}, {'at rest' if at_rest else 'running'}")
        raise
    finally:
        fleet.stop()


def hurt_all(tmp_path: Path, wanted: list[tuple[int, Damage, bool]]) -> None:
    came: dict[str, int] = {}
    for at, (number, damage, at_rest) in enumerate(wanted):
        what = hurt(tmp_path / str(at), number, damage, at_rest=at_rest)
        came[what] = came.get(what, 0) + 1
    print(f"{len(wanted)} cases: {came}")


def test_a_damaged_file_is_survived_or_named(tmp_path: Path, count: int) -> None:
    every = list(cases(count))
    hurt_all(tmp_path, [c for at, c in enumerate(every) if crc32(b"%d" % at) % SAMPLE == 0])


@pytest.mark.long
@pytest.mark.parametrize("part", range(4))
def test_any_damage_of_any_file_is_survived_or_named(tmp_path: Path, count: int, part: int) -> None:
    hurt_all(tmp_path, list(cases(count))[part::4])
