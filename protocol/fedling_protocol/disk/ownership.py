"""Whose a state directory is: root's commands act as its owner, and leave nothing of root's in it.

So a link that the owner's programs put there leads root nowhere that its owner could not go, and
the service finds no file that it cannot open. A link on the way to the directory is followed if it
belongs to root or to the owner of where it leads; nobody else can send root elsewhere.

NotOurs
    this user may not, or should not, work there; the message says what to do (exit 77)
"""

import grp
import os
import pwd
import shlex
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fedling_protocol.classes import dataclass
from fedling_protocol.disk import mounts

ENTERED = 0o710  # a state that a group may enter, for what stands in it, and not look into
CODE = (Path(__file__), Path(os.__file__), Path(sys.executable))  # modules are read when needed
MOST_LINKS = 40  # as the kernel
UID_MAP = Path("/proc/self/uid_map")  # user_namespaces(7)


def nothing() -> None:
    """There is nothing to do."""


class NotOurs(Exception):
    """A state directory is another user's, or others can write into it."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A systemd unit of ours: the user it runs as, and its StateDirectory=."""

    user: str
    state: Path


@dataclass(frozen=True, slots=True)
class User:
    """Who a process can be."""

    uid: int
    gid: int
    groups: tuple[int, ...]

    @property
    def name(self) -> str:
        return user_name(self.uid)


def become(directory: Path, unit: Unit, *read: Path, first: Callable[[], object] = nothing) -> bool:
    """Be the owner of a state directory from now on, if we are root and it is not root's.

    A unit's own directory is made, if it is missing. read: files that told where it is; first: what
    only root can do, called if we become another. True: we are another user now. Raises NotOurs.
    """
    owner = _owner(directory, unit, read)
    if owner is None:
        return False
    first()
    _switch(directory, owner)
    os.setresgid(owner.gid, owner.gid, owner.gid)
    os.setresuid(owner.uid, owner.uid, owner.uid)
    return True


@contextmanager
def acting(directory: Path, unit: Unit, *read: Path) -> Iterator[None]:
    """As become(), but for a while: root's own files are read and written before and after it.

    Raises NotOurs, also if we are not root and may not work there.
    """
    owner = _owner(directory, unit, read)
    if owner is None:
        check_ours(directory)
        yield
        return
    groups = os.getgroups()
    _switch(directory, owner)
    try:
        yield
    finally:
        _switch_back(groups)


def check_ours(directory: Path) -> None:
    """Raise NotOurs if the directory is another user's, and closed to us."""
    try:
        found = os.stat(directory)
    except OSError:  # who is about to read it is told by that
        return
    rights = os.R_OK | os.W_OK | os.X_OK
    if found.st_uid == os.geteuid() or os.access(directory, rights, effective_ids=True):
        return
    raise NotOurs(f"{directory}: is kept by user {user_name(found.st_uid)}: put sudo before it")


def make_folder_for_services(path: Path) -> None:
    """Make a folder, and those above it, for what root writes and services of other users read.

    Everybody may enter it, whatever root's umask; a user's own is as that user's umask says.
    """
    before = os.umask(0o022) if os.geteuid() == 0 else None
    try:
        path.mkdir(parents=True, exist_ok=True)
    finally:
        if before is not None:
            os.umask(before)


def user_name(uid: int) -> str:
    """The name of a user; the number of one without."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """The name of a group; the number of one without."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _owner(directory: Path, unit: Unit, read: tuple[Path, ...]) -> User | None:
    """Who root should be for this directory; None: who we are. Raises NotOurs."""
    if not _is_root():
        if directory.exists():
            _check_modes(directory, os.stat(directory))
        for file in read:
            _check_writers(file)
        return None
    there, links = _walk(directory)
    found = os.stat(there)
    for link, by in links:
        if by not in (0, found.st_uid):
            raise NotOurs(f"{link}: user {user_name(by)} made this link: name where it leads")
    if there == directory or directory.exists():
        _check_modes(directory, found)
    elif found.st_uid == 0 and directory == unit.state and (user := _user_of(unit)) is not None:
        directory.mkdir(mode=ENTERED)
        os.chown(directory, user.uid, user.gid, follow_symlinks=False)
        directory.chmod(ENTERED)  # whatever the umask
        found = os.stat(directory)
    for file in read:
        _check_owner(file, found.st_uid)
        _check_writers(file)
    return None if found.st_uid == 0 else _user(found)


def _is_root() -> bool:
    """Whether we can be others. A user who is root in a namespace of his own cannot."""
    if os.geteuid() != 0:
        return False
    try:
        return sum(int(line.split()[2]) for line in UID_MAP.read_text().splitlines()) > 1
    except OSError:
        return True


def _walk(path: Path) -> tuple[Path, list[tuple[Path, int]]]:
    """Follow a path to its end, or as far as it is there; and the links on it, with their owners.

    Raises NotOurs.
    """
    at, words = Path("/"), list(reversed(path.absolute().parts[1:]))
    links: list[tuple[Path, int]] = []
    while words:
        here = at / words.pop()
        try:
            found = os.lstat(here)
        except (FileNotFoundError, NotADirectoryError):
            break
        if not stat.S_ISLNK(found.st_mode):
            at = Path(os.path.normpath(here))  # ".." of what is no link
            continue
        links.append((here, found.st_uid))
        if len(links) > MOST_LINKS:
            raise NotOurs(f"{path}: leads round in circles")
        target = Path(os.readlink(here))
        at = Path("/") if target.is_absolute() else at
        words += reversed([part for part in target.parts if part != "/"])
    return at, links


def _check_modes(directory: Path, found: os.stat_result) -> None:
    """Refuse what others can write into: they could put links there, or take files away."""
    if not stat.S_ISDIR(found.st_mode):
        raise NotOurs(f"{directory}: is no directory")
    mode = stat.S_IMODE(found.st_mode)
    shared = found.st_mode & stat.S_IWGRP and found.st_gid != _user(found).gid
    if not mode & stat.S_IWOTH and not shared:
        return
    kind = mounts.kind(directory)
    if kind in mounts.WITHOUT_MODES:
        raise NotOurs(
            f"{directory}: is on {kind}, which knows neither users nor modes, so that everybody"
            " could read its keys: name a directory on another file system, as ext4"
        )
    raise NotOurs(
        f"{directory}: mode {mode:04o} lets others write there; run: chmod go-w "
        f"{shlex.quote(str(directory))}, or name a directory within it"
    )


def _check_owner(file: Path, owner: int) -> None:
    """Refuse to let a third user's file tell root where to work."""
    found = os.stat(file)
    if found.st_uid not in (0, owner):
        raise NotOurs(
            f"{file}: belongs to {user_name(found.st_uid)}, and root should not follow it;"
            f" run: chown root {file}"
        )


def _check_writers(file: Path) -> None:
    """Refuse a file with which everybody could tell us where to work, and whom to trust."""
    if os.stat(file).st_mode & stat.S_IWOTH:
        raise NotOurs(f"{file}: everybody can write it; run: chmod o-w {shlex.quote(str(file))}")


def _user_of(unit: Unit) -> User | None:
    """Look up the unit's user, if the system knows it."""
    try:
        entry = pwd.getpwnam(unit.user)
    except KeyError:
        return None
    return User(entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(unit.user, entry.pw_gid)))


def _user(found: os.stat_result) -> User:
    """Make a user of the owner of a file; one without an entry in passwd has the file's group."""
    try:
        entry = pwd.getpwuid(found.st_uid)
    except KeyError:
        return User(found.st_uid, found.st_gid, (found.st_gid,))
    groups = os.getgrouplist(entry.pw_name, entry.pw_gid)
    return User(found.st_uid, entry.pw_gid, tuple(groups))


def _switch(directory: Path, owner: User) -> None:
    """Act as a user, if that is of any use. Raises NotOurs; then we are root as before."""
    groups = os.getgroups()
    try:
        os.setgroups(owner.groups)
        os.setegid(owner.gid)
        os.seteuid(owner.uid)
    except OSError as error:  # a container without the right to be another user
        _switch_back(groups)
        raise NotOurs(
            f"{directory}: is kept by user {owner.name}, whom this process may not become"
            f" ({error.strerror}): run it as that user"
        ) from error
    why = _hindrance(directory, owner)
    if why:
        _switch_back(groups)
        raise NotOurs(why)


def _switch_back(groups: list[int]) -> None:
    os.seteuid(0)
    os.setegid(0)
    os.setgroups(groups)


def _hindrance(directory: Path, owner: User) -> str:
    """Why the user, whom we act as, cannot work; empty if nothing hinders."""
    for file in CODE:
        if not os.access(file, os.R_OK, effective_ids=True):
            return (
                f"{directory}: is kept by user {owner.name}, who cannot read {file}: have fedling,"
                " and its Python, where everybody can read them, as in /opt/fedling"
            )
    parent = directory.resolve() if os.path.lexists(directory) else directory.parent
    if os.path.lexists(directory) and not os.access(directory, os.X_OK, effective_ids=True):
        return (
            f"{directory}: leads to {parent}, which is kept by user {owner.name}, who cannot get"
            " there: start the service, whose unit moves what a DynamicUser= kept, or open the way"
        )
    return ""
