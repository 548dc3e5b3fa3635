"""Arrays of a file: a NPZ archive, as numpy.savez writes it, or one array alone (NPY)."""

import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, cast

from fedling_agent.data import npy
from fedling_agent.data.fields import shown
from fedling_protocol.classes import dataclass
from fedling_protocol.disk.errors import BadInput

ENDINGS = (".npy", ".npz")
ALONE = "the array"  # what an array is called that is alone in its file
MOST_READ = 2**20  # bytes at once: a directory of some thousand arrays
MOST_ARRAYS = 256
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
ENCRYPTED = 1  # of a member's flags
DAMAGED = "is damaged, or was not written to its end: save it again"
# what zipfile raises at bytes that are no archive, beside its own
_FAULTS = (
    *(zipfile.BadZipFile, zlib.error, EOFError, ValueError, OverflowError),
    *(NotImplementedError, RuntimeError, OSError),
)


class Part:
    """A file that is read at a place of its own. An archive says how much of it is a directory:
    nobody reads very much at once.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._at = 0
        self.size = os.fstat(handle).st_size

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise OSError("before the begin")
        self._at = base + offset
        return self._at

    def seekable(self) -> bool:
        return True

    def read(self, count: int = -1) -> bytes:
        count = max(0, self.size - self._at) if count < 0 else count
        if count > MOST_READ:
            raise OSError("too much at once")
        data = os.pread(self._handle, count, self._at)
        self._at += len(data)
        return data


@dataclass(frozen=True, slots=True)
class Array:
    """One array of a file. It is read anew as often as it is asked for."""

    file: str
    name: str
    header: npy.Header
    _handle: int
    _member: str  # of the archive; empty: the file is the array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.header.shape

    @property
    def title(self) -> str:
        """Name it in errors."""
        return _title(self.file, self.name)

    def rows(self, width: int) -> Iterator[tuple[npy.Value, ...]]:
        """Read its items in C's order, so many of them each time. Raises BadInput."""
        with _reading(self._handle, self._member, self.title) as file:
            file.read(self.header.begin)
            yield from npy.read_rows(file, self.header, width, self.title)

    def values(self) -> Iterator[npy.Value]:
        """Read item after item."""
        for (value,) in self.rows(1):
            yield value


class Arrays:
    """The arrays of a file that is open, by name."""

    def __init__(self, handle: int, file: str) -> None:
        """file: its name, for errors. Raises BadInput."""
        self._handle = handle
        self._file = file
        self._members = self._find()

    @property
    def names(self) -> list[str]:
        return list(self._members)

    def array(self, name: str) -> Array:
        """Look at an array. Raises BadInput: it is none, or none that is read here."""
        member, title = self._members[name], _title(self._file, name)
        with _reading(self._handle, member, title) as file:
            header = npy.read_header(file, title)
            size = self._size(member) - header.begin
        if size != header.bytes:
            words = f"shape {header.shape} takes {header.bytes} bytes, {size} are there"
            raise BadInput(f"{title}: {words}: {DAMAGED}")
        return Array(self._file, name, header, self._handle, member)

    def _find(self) -> dict[str, str]:
        if Part(self._handle).read(len(npy.MAGIC)) == npy.MAGIC:
            return {ALONE: ""}
        with _archive(self._handle, self._file) as archive:
            members = [info.filename for info in archive.infolist()]
        if len(members) > MOST_ARRAYS:
            raise BadInput(f"{self._file}: {len(members)} arrays: allowed: {MOST_ARRAYS}")
        names = [member.removesuffix(".npy") for member in members]
        for name, member in zip(names, members, strict=True):
            if name == member:
                raise BadInput(f"{self._file}: {shown(name)} in it is no array of numpy")
            if names.count(name) > 1:
                raise BadInput(f"{self._file}: array {shown(name)} comes twice")
        return dict(zip(names, members, strict=True))

    def _size(self, member: str) -> int:
        if not member:
            return Part(self._handle).size
        with _archive(self._handle, self._file) as archive:
            return archive.getinfo(member).file_size


def is_whole(handle: int) -> bool:
    """Whether such a file has its end: somebody may still write to it."""
    try:
        arrays = Arrays(handle, "")
        for name in arrays.names:
            arrays.array(name)
    except BadInput:
        return False
    return True


def _title(file: str, name: str) -> str:
    return f"{file}: {name if name == ALONE else f'array {shown(name)}'}"


@contextmanager
def _archive(handle: int, title: str) -> Iterator[zipfile.ZipFile]:
    with ExitStack() as held:
        with _naming(title):
            archive = held.enter_context(zipfile.ZipFile(cast(IO[bytes], Part(handle))))
        yield archive


@contextmanager
def _reading(handle: int, member: str, title: str) -> Iterator[npy.Reader]:
    """Read an array's bytes from the first one on. Raises BadInput, within as well."""
    with _naming(title), ExitStack() as held:
        if not member:
            yield Part(handle)
            return
        archive = held.enter_context(_archive(handle, title))
        info = archive.getinfo(member)
        if info.flag_bits & ENCRYPTED or info.compress_type not in COMPRESSIONS:
            words = "is encrypted, or compressed in a rare way: save it with numpy.savez"
            raise BadInput(f"{title}: {words}")
        yield held.enter_context(archive.open(info))


@contextmanager
def _naming(title: str) -> Iterator[None]:
    """Say of what an archive raises which file it is."""
    try:
        yield
    except _FAULTS as error:
        if isinstance(error, BadInput):
            raise
        raise BadInput(f"{title}: {DAMAGED}") from error
