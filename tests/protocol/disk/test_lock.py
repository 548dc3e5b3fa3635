import os
from pathlib import Path

import pytest

from fedling_protocol.disk import lock
from fedling_protocol.disk.errors import CannotWrite
from fedling_protocol.disk.lock import Locked


def test_exclusive_refuses_a_second_and_names_the_first(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with (
        lock.exclusive(state, "fedling-agent"),
        pytest.raises(
            Locked, match=rf"state: in use by another fedling-agent \(pid {os.getpid()}\)"
        ),
        lock.exclusive(state, "fedling-agent"),
    ):
        pytest.fail("two hold it")
    with lock.exclusive(state, "fedling-agent"):
        assert [path.name for path in state.iterdir()] == ["agent.lock"]


def test_exclusive_names_the_folder_that_it_was_given_as_a_dot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        lock.exclusive(Path(), "fedling-up"),
        pytest.raises(Locked, match=f"{tmp_path}: in use"),
        lock.exclusive(Path(), "fedling-up"),
    ):
        pytest.fail("two hold it")


def test_exclusive_names_the_holder_and_not_who_was_before(tmp_path: Path) -> None:
    lock.lock_file(tmp_path, "fedling-agent").write_text("12345678901234567890\n")
    with (
        lock.exclusive(tmp_path, "fedling-agent"),
        pytest.raises(Locked, match=rf"\(pid {os.getpid()}\)"),
        lock.exclusive(tmp_path, "fedling-agent"),
    ):
        pytest.fail("two hold it")


def test_exclusive_is_of_one_program(tmp_path: Path) -> None:
    with lock.exclusive(tmp_path, "fedling-agent"), lock.exclusive(tmp_path, "fedling-broker"):
        pass


def test_exclusive_ends_with_the_block_that_failed(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), lock.exclusive(tmp_path, "fedling-agent"):
        raise ZeroDivisionError
    with lock.exclusive(tmp_path, "fedling-agent"):
        pass


def test_exclusive_where_nothing_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match="file"), lock.exclusive(tmp_path / "file" / "x", "x"):
        pass


def test_is_held_while_somebody_holds_it_and_takes_it_from_nobody(tmp_path: Path) -> None:
    assert not lock.is_held(tmp_path, "fedling-agent")
    with lock.exclusive(tmp_path, "fedling-agent"):
        assert lock.is_held(tmp_path, "fedling-agent")
        assert not lock.is_held(tmp_path, "fedling-broker")
    assert not lock.is_held(tmp_path, "fedling-agent")
