"""Who works in a state directory, and who is told that he may not."""

import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedling_protocol.disk import mounts, ownership
from fedling_protocol.disk.ownership import NotOurs, Unit, acting
from tests.support import as_root
from tests.support.as_root import NOBODY

OTHER = 4242
UNIT = Unit("nobody", Path("/nowhere/state"))


@pytest.fixture
def folder() -> Iterator[Path]:
    as_root.need_root()
    if as_root.root():
        pytest.skip("this checkout lies below a closed home: others cannot read it")
    with as_root.open_folder() as folder:
        yield folder


def state_of(uid: int, path: Path) -> Path:
    path.mkdir(mode=0o700)
    os.chown(path, uid, uid)
    return path


def who(directory: Path, unit: Unit = UNIT, *read: Path) -> tuple[int, int, list[int]]:
    """User, group and groups with which root works in a directory."""
    before = os.geteuid(), os.getegid(), os.getgroups()
    with acting(directory, unit, *read):
        found = os.geteuid(), os.getegid(), os.getgroups()
        (directory / "made").write_text("by whoever this is")
    assert (os.geteuid(), os.getegid(), os.getgroups()) == before
    return found


# --- root acts as the owner ----------------------------------------------------------------------


def test_root_is_the_owner_with_the_owners_groups_and_no_others(folder: Path) -> None:
    nobody = pwd.getpwuid(NOBODY)
    groups = sorted(os.getgrouplist(nobody.pw_name, nobody.pw_gid))
    uid, gid, found = who(state_of(NOBODY, folder / "state"))
    assert (uid, gid, sorted(found)) == (NOBODY, nobody.pw_gid, groups)


def test_root_is_an_owner_whom_no_passwd_names(folder: Path) -> None:
    assert who(state_of(OTHER, folder / "state")) == (OTHER, OTHER, [OTHER])


def test_root_is_root_in_a_state_of_its_own(folder: Path) -> None:
    assert who(state_of(0, folder / "state"))[0] == 0


def test_root_is_root_again_after_an_exception(folder: Path) -> None:
    state = state_of(NOBODY, folder / "state")
    with pytest.raises(ZeroDivisionError), acting(state, UNIT):
        _ = 1 // 0
    assert (os.geteuid(), os.getegid()) == (0, 0)


def test_state_that_is_not_there_yet_is_of_who_has_the_folder(folder: Path) -> None:
    os.chown(folder, OTHER, OTHER)
    with acting(folder / "new" / "state", UNIT):
        assert os.geteuid() == OTHER


def test_state_of_a_unit_is_made_for_its_user(folder: Path) -> None:
    """`init` before the service was ever started: one identity for both."""
    before = os.umask(0o077)
    try:
        unit = Unit("nobody", folder / "fedling-agent")
        assert who(unit.state, unit)[0] == NOBODY
    finally:
        os.umask(before)
    about = unit.state.stat()
    assert (about.st_uid, about.st_mode & 0o7777) == (NOBODY, 0o710)


def test_state_of_a_unit_whose_user_is_not_there_yet_is_roots(folder: Path) -> None:
    """systemd gives it to the user, with all that is in it, at the first start."""
    with acting(folder / "state", Unit("no-such-user", folder / "state")):
        assert os.geteuid() == 0


def test_become_is_for_good(folder: Path) -> None:
    state = state_of(NOBODY, folder / "state")
    child = os.fork()
    if child == 0:
        code = 1
        try:
            ownership.become(state, UNIT)
            ids = (os.getresuid(), os.getresgid())
            nobody = pwd.getpwuid(NOBODY)
            code = 0 if ids == ((NOBODY,) * 3, (nobody.pw_gid,) * 3) else 2
            os.setuid(0)
            code = 3
        except PermissionError:
            pass
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# --- links ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [0, NOBODY, OTHER])
@pytest.mark.parametrize("owner", [0, NOBODY])
@pytest.mark.parametrize("where", ["state", "way/state"])
def test_link_on_the_way_is_followed_of_root_and_the_owner_only(
    folder: Path, by: int, owner: int, where: str
) -> None:
    """An OTHER user plants one so that root works for him in a directory of somebody else's."""
    (folder / "real").mkdir()
    state_of(owner, folder / "real" / "state")
    link = folder / where.split("/", maxsplit=1)[0]
    link.symlink_to("real" if "/" in where else "real/state")
    os.chown(link, by, by, follow_symlinks=False)
    if by in (0, owner):
        assert who(folder / where)[0] == owner
        return
    with pytest.raises(NotOurs, match=rf"{link}: user \w+ made this link"):
        who(folder / where)
    assert not (folder / "real" / "state" / "made").exists()


def test_links_that_lead_round_in_circles_are_told(folder: Path) -> None:
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    with pytest.raises(NotOurs, match="circles"):
        who(folder / "a")


def test_link_upwards_is_followed(folder: Path) -> None:
    state_of(NOBODY, folder / "state")
    (folder / "deep").mkdir()
    (folder / "deep" / "link").symlink_to("../state")
    assert who(folder / "deep" / "link")[0] == NOBODY


def test_what_a_dynamic_user_kept_is_told_how_to_move(folder: Path) -> None:
    """/var/lib/fedling-agent -> private/fedling-agent, which only root can enter."""
    (folder / "private").mkdir(mode=0o700)
    state_of(OTHER, folder / "private" / "fedling-agent")
    (folder / "fedling-agent").symlink_to("private/fedling-agent")
    with pytest.raises(NotOurs, match=r"user 4242, who cannot get there: start the service"):
        who(folder / "fedling-agent")
    assert os.geteuid() == 0


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o702, 0o770])
def test_state_that_others_can_write_is_refused(tmp_path: Path, mode: int) -> None:
    state = tmp_path / "state"
    state.mkdir()
    if mode == 0o770:
        as_root.need_root()
        os.chown(state, -1, OTHER)  # a group that is not the owner's own
    state.chmod(mode)
    with (
        pytest.raises(NotOurs, match=rf"mode {mode:04o} lets others write.* chmod go-w {state}"),
        acting(state, UNIT),
    ):
        pytest.fail("it was taken")


def test_state_that_a_users_own_group_can_write_is_taken(tmp_path: Path) -> None:
    """mkdir does so with the umask 002 of distributions where each user has a group."""
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o770)
    if state.stat().st_gid != pwd.getpwuid(os.geteuid()).pw_gid:
        pytest.skip("this process works with another group than its user's own")
    with acting(state, UNIT):
        pass


@pytest.mark.parametrize("kind", mounts.WITHOUT_MODES)
def test_state_on_a_card_without_modes_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """FAT shows one mode for all, and chmod says that it worked."""
    tmp_path.chmod(0o777)
    monkeypatch.setattr(mounts, "kind", lambda _: kind)
    with pytest.raises(NotOurs, match=f"is on {kind}, which knows neither users nor modes"):
        acting(tmp_path, UNIT).__enter__()


def test_state_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(NotOurs, match="is no directory"):
        acting(tmp_path / "state", UNIT).__enter__()


@pytest.mark.parametrize(("uid", "mode"), [(OTHER, 0o644), (0, 0o666), (NOBODY, 0o602)])
def test_file_of_a_third_user_does_not_tell_root_where_to_work(
    folder: Path, uid: int, mode: int
) -> None:
    state, file = state_of(NOBODY, folder / "state"), folder / "agent.toml"
    file.write_text("")
    os.chown(file, uid, uid)
    file.chmod(mode)
    with pytest.raises(NotOurs, match=rf"{file}: .* run: chm?o"):
        who(state, UNIT, file)


def test_file_that_everybody_can_write_tells_nobody_where_to_work(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text("")
    file.chmod(0o646)
    with pytest.raises(NotOurs, match=rf"{file}: everybody can write it; run: chmod o-w {file}"):
        acting(tmp_path, UNIT, file).__enter__()


@pytest.mark.parametrize("uid", [0, NOBODY])
def test_file_of_root_or_the_owner_is_followed(folder: Path, uid: int) -> None:
    state, file = state_of(NOBODY, folder / "state"), folder / "agent.toml"
    file.write_text("")
    os.chown(file, uid, uid)
    assert who(state, UNIT, file)[0] == NOBODY


def test_user_who_is_neither_root_nor_owner_is_told_what_to_do(folder: Path) -> None:
    state = state_of(NOBODY, folder / "state")
    os.setegid(OTHER)
    os.seteuid(OTHER)
    try:
        with pytest.raises(NotOurs, match="is kept by user nobody: put sudo before it"):
            acting(state, UNIT).__enter__()
    finally:
        os.seteuid(0)
        os.setegid(0)


def test_root_of_a_namespace_of_one_user_is_that_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`unshare -r`: everything of others shows as nobody's, and nobody can be become."""
    (tmp_path / "map").write_text("         0       1000          1\n")
    monkeypatch.setattr(ownership, "UID_MAP", tmp_path / "map")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with acting(tmp_path, UNIT):
        pass
