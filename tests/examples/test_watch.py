"""The watch example: what is fetched, what is refused, how many windows come out."""

import io
import json
import math
import os
import pickle
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from examples.watch import fetch
from fedling_agent.data.streams import Parser, Row, load_stream
from tests.support.tools import absent

WATCH = Path(fetch.__file__).parent
WINDOW, STRIDE = 100, 50


@pytest.fixture(scope="module")
def data() -> Path:
    """The fetched recordings."""
    try:
        fetch.fetch(WATCH / "data")
    except fetch.FetchError as error:
        absent(str(error))
    return WATCH / "data"


def npy(content: object, protocol: int = 2) -> io.BytesIO:
    """A .npy file of dtype object, as numpy writes it."""
    file = io.BytesIO()
    header = {"descr": "|O", "fortran_order": False, "shape": ()}
    np.lib.format.write_array_header_1_0(file, header)
    pickle.dump(content, file, protocol=protocol)
    file.seek(0)
    return file


class Calls:
    """Pickles as a call of anything."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def tiny_recordings() -> list[fetch.Recording]:
    samples = np.arange(12, dtype=np.float64).reshape(2, 6) / 8
    return [fetch.Recording(3, side, "pendulum", samples) for side in fetch.SIDES]


@pytest.mark.parametrize(
    "call",
    [
        Calls(os.system, "true"),
        Calls(eval, "1"),
        Calls(getattr, "x", "upper"),
        Calls(np.load, "x.npy"),
        Calls(np.frombuffer, b"12345678"),
        Calls(Path, "x"),
    ],
    ids=["os.system", "eval", "getattr", "np.load", "np.frombuffer", "Path"],
)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_load_object_refuses_any_other_name(call: Calls, protocol: int) -> None:
    with pytest.raises(fetch.FetchError, match="refused"):
        fetch.load_object(npy({"X": [call]}, protocol))


def test_load_object_refuses_other_types_of_array() -> None:
    void = np.zeros(1, [("a", "f8")])
    with pytest.raises(fetch.FetchError, match=r"refused|array of type"):
        fetch.load_object(npy(void))


def test_load_object_cut_anywhere_says_damaged() -> None:
    whole = npy([{"a": 1, "b": [1.5, "text", None]}] * 2).getvalue()
    for end in range(130, len(whole)):
        with pytest.raises(fetch.FetchError):
            fetch.load_object(io.BytesIO(whole[:end]))


def test_load_object_of_another_file_is_refused() -> None:
    file = io.BytesIO()
    np.save(file, np.zeros(3))
    file.seek(0)
    with pytest.raises(fetch.FetchError, match="one object"):
        fetch.load_object(file)


def test_read_wheel_with_another_hash_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "seglearn.whl"
    wheel.write_bytes(b"PK")
    with pytest.raises(fetch.FetchError, match="SHA-256"):
        fetch.read_wheel(wheel)


def test_fetch_without_an_index_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(fetch.FetchError, match=r"seglearn==1\.2\.5(.|\n)*--wheel"):
        fetch.fetch(tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_is_complete_after_a_file_was_damaged(tmp_path: Path) -> None:
    assert not fetch.is_complete(tmp_path)
    fetch.write_files(tiny_recordings(), tmp_path)
    assert fetch.is_complete(tmp_path)
    assert "already" in fetch.fetch(tmp_path)
    (tmp_path / "subject-03-left.csv").write_text("damaged")
    assert not fetch.is_complete(tmp_path)


def test_fetched_files_are_seven_exercises_of_twenty_devices(data: Path) -> None:
    index = json.loads((data / "devices.json").read_text())
    assert len(index["devices"]) == 20
    for device in index["devices"]:
        lines = (data / device["file"]).read_text().splitlines()
        assert lines[0] == "recording,label,ax,ay,az,wx,wy,wz"
        rows = Counter(tuple(line.split(",", 2)[:2]) for line in lines[1:])
        assert rows == {(r["id"], r["label"]): r["samples"] for r in device["recordings"]}
        assert [r["label"] for r in device["recordings"]] == list(fetch.LABELS)


def test_fetched_files_give_3691_training_and_706_test_windows(data: Path) -> None:
    """A test window starts at or after sample floor(.8 n), a training window ends before it."""
    index = json.loads((data / "devices.json").read_text())
    training = test = 0
    for recording in (r for device in index["devices"] for r in device["recordings"]):
        n, cut = recording["samples"], math.floor(0.8 * recording["samples"])
        starts = range(0, n - WINDOW + 1, STRIDE)
        training += sum(start + WINDOW <= cut for start in starts)
        test += sum(start >= cut for start in starts)
    assert (training, test) == (3691, 706)


def test_stream_file_reads_every_fetched_value(data: Path) -> None:
    """No value is out of range; the counts are the values, halves rounded up."""
    stream = load_stream(WATCH / "stream.toml")
    assert tuple(channel.name for channel in stream.channels) == fetch.CHANNELS
    sizes = np.array([channel.resolution for channel in stream.channels])
    for path in sorted(data.glob("*.csv")):
        values = np.loadtxt(path, delimiter=",", skiprows=1, usecols=range(2, 8))
        counts = np.floor(values / sizes + 0.5)
        assert np.abs(counts).max() <= 32767
        with path.open() as file:
            rows = list(Parser(stream, "csv").feed(next(file) for _ in range(50)))
        assert [list(r.counts) for r in rows if isinstance(r, Row)] == counts[:49].tolist()


def test_write_files_over_old_ones_leaves_no_parts(tmp_path: Path, data: Path) -> None:
    shutil.copy(data / "subject-03-left.csv", tmp_path)
    fetch.write_files(tiny_recordings(), tmp_path)
    names = {"devices.json", "subject-03-left.csv", "subject-03-right.csv"}
    assert {path.name for path in tmp_path.iterdir()} == names
