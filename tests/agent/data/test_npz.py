"""Archives of arrays: what numpy saves, and what is damaged, or meant to fill a memory."""

import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_agent.data import npy, npz
from fedling_agent.data.npz import ALONE, Arrays
from fedling_protocol.disk.errors import BadInput
from tests.agent.data.test_npy import GOOD, bytes_of, with_header


def opened(path: Path, read: Callable[[Arrays], object]) -> object:
    with path.open("rb") as file:
        return read(Arrays(file.fileno(), "day.npz"))


def values(arrays: Arrays) -> dict[str, list[npy.Value]]:
    return {name: list(arrays.array(name).values()) for name in arrays.names}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_archives_are_what_numpy_wrote(tmp_path: Path, save: Callable[..., None]) -> None:
    save(tmp_path / "a.npz", np.arange(90_000), y=np.array(["a", "bc"]))
    expected = {"y": ["a", "bc"], "arr_0": list(range(90_000))}
    assert opened(tmp_path / "a.npz", values) == expected


def test_an_array_alone_is_a_file_as_well(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(5))
    assert opened(tmp_path / "a.npy", values) == {ALONE: [0, 1, 2, 3, 4]}


def test_two_arrays_are_read_side_by_side(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", x=np.arange(50_000), y=-np.arange(50_000))

    def both(arrays: Arrays) -> bool:
        pairs = zip(arrays.array("x").values(), arrays.array("y").values(), strict=True)
        return all(isinstance(x, int) and isinstance(y, int) and x == -y for x, y in pairs)

    assert opened(tmp_path / "a.npz", both)


def test_an_archive_that_inflates_far_takes_little_memory(tmp_path: Path) -> None:
    """A bomb: 64 MiB of nothing in 64 KiB."""
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((2**21, 4)))
    assert (tmp_path / "a.npz").stat().st_size < 2**17

    def some(arrays: Arrays) -> int:
        rows = arrays.array("x").rows(4)
        return sum(len(next(rows)) for _ in range(100_000))

    tracemalloc.start()
    try:
        assert opened(tmp_path / "a.npz", some) == 400_000
        assert tracemalloc.get_traced_memory()[1] < 2 * 2**20
    finally:
        tracemalloc.stop()


def test_a_shape_that_is_larger_than_the_file_is_refused(tmp_path: Path) -> None:
    text = GOOD.replace("(1, 1)", f"({2**40}, 3)")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", with_header(text, bytes(12)))
    with pytest.raises(BadInput, match=r"array x: shape \(1099511627776, 3\) takes"):
        opened(tmp_path / "a.npz", values)


def test_an_archive_that_says_more_than_it_has_is_refused(tmp_path: Path) -> None:
    """Its directory tells of a gigabyte, as the header does: what inflates is 12 bytes."""
    data = with_header(GOOD.replace("(1, 1)", f"({2**28}, 1)"), bytes(12))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", data)
    whole = (tmp_path / "a.npz").read_bytes()
    more = struct.pack("<I", len(data) - 12 + 2**30)
    (tmp_path / "a.npz").write_bytes(whole.replace(struct.pack("<I", len(data)), more))
    with pytest.raises(BadInput, match=r"array x: (ends too early|is damaged)"):
        opened(tmp_path / "a.npz", values)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_rare_compressions_are_refused(tmp_path: Path, compression: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", compression) as archive:
        archive.writestr("x.npy", bytes_of(np.zeros((1, 1))))
    with pytest.raises(BadInput, match="array x: is encrypted, or compressed in a rare way"):
        opened(tmp_path / "a.npz", values)


def test_what_is_no_archive_of_arrays_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.npz"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("xl/workbook.xml", "<x/>")
    with pytest.raises(BadInput, match=r"xl/workbook\.xml in it is no array"):
        opened(file, values)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", bytes_of(np.zeros((1, 1))))
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("x.npy", bytes_of(np.zeros((1, 1))))
    with pytest.raises(BadInput, match="array x comes twice"):
        opened(file, values)
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(npz.MOST_ARRAYS + 1):
            archive.writestr(f"{number}.npy", "")
    with pytest.raises(BadInput, match="257 arrays: allowed: 256"):
        opened(file, values)
    for data in (b"", b"x,y\n1,2\n", pickle.dumps({"x": 1})):
        file.write_bytes(data)
        with pytest.raises(BadInput, match=r"day\.npz: is damaged"):
            opened(file, values)


def test_a_directory_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    """The end of an archive says how large its directory is."""
    file, size = tmp_path / "a.npz", 2**21
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, size, 0, 0)
    file.write_bytes(bytes(size) + end)
    with pytest.raises(BadInput, match="is damaged"):
        opened(file, values)


@given(st.data())
def test_an_archive_that_is_damaged_is_refused_or_is_values(data: st.DataObject) -> None:
    file = io.BytesIO()
    save = data.draw(st.sampled_from([np.savez, np.savez_compressed]))
    save(file, x=np.arange(40.0).reshape(-1, 2), y=np.array(["a"] * 20))
    content = bytearray(file.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(0, len(content))) :]
    handle = os.memfd_create("damaged")
    try:
        os.write(handle, content)
        with suppress(BadInput):
            values(Arrays(handle, "a.npz"))
    finally:
        os.close(handle)


def test_whether_a_file_is_there_to_its_end(tmp_path: Path) -> None:
    for name, save in (("a.npy", np.save), ("a.npz", lambda file, x: np.savez(file, x=x))):
        save(tmp_path / name, np.arange(100))
        whole = (tmp_path / name).read_bytes()
        for size in (0, 5, 100, len(whole) - 1, len(whole)):
            (tmp_path / name).write_bytes(whole[:size])
            with (tmp_path / name).open("rb") as file:
                assert npz.is_whole(file.fileno()) == (size == len(whole))
