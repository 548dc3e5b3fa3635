"""The devices' recordings, parted into what is ingested and what only the simulator ever sees."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fedling_protocol.settings import SettingsError
from fedling_protocol.wire.messages import TaskSpec

INDEX = "devices.json"


@dataclass(frozen=True, slots=True)
class TestWindow:
    """A window of the last fifth, as the lines that `predict` reads."""

    label: str
    lines: list[str]  # a CSV header, then a line a sample


@dataclass(frozen=True, slots=True)
class DeviceData:
    """The recordings of one device, parted."""

    name: str
    header: str
    training: list[list[str]]  # CSV lines of the first four fifths of each recording
    tests: list[TestWindow]
    windows: int  # training windows


def names(folder: Path) -> list[str]:
    """List all devices of a data folder. Raises SettingsError."""
    return [str(device["name"]) for device in _index(folder)]


def load(folder: Path, spec: TaskSpec, count: int) -> list[DeviceData]:
    """Load the first `count` devices (0: all). Raises SettingsError."""
    index = _index(folder)
    if count > len(index):
        raise SettingsError(f"{folder / INDEX}: has {len(index)} devices, not {count}")
    return [
        split(str(d["name"]), (folder / str(d["file"])).read_text().splitlines(), spec)
        for d in index[: count or None]
    ]


def split(name: str, lines: Sequence[str], spec: TaskSpec) -> DeviceData:
    """Part a device's CSV with a header and the columns recording and label."""
    header, *rows = lines
    columns = next(csv.reader([header]))
    bare = ",".join(c for c in columns if c not in ("recording", "label"))
    training: list[list[str]] = []
    tests: list[TestWindow] = []
    windows = 0
    for recording in _recordings(rows, columns.index("recording")):
        cut = len(recording) * 4 // 5
        training.append(recording[:cut])
        windows += len(range(0, cut - spec.window + 1, spec.stride))
        for start in _test_starts(len(recording), cut, spec):
            tests.append(_test_window(recording[start : start + spec.window], columns, bare))
    return DeviceData(name, header, training, tests, windows)


def _test_starts(samples: int, cut: int, spec: TaskSpec) -> range:
    """Tell where test windows begin: at multiples of the stride, from the cut on."""
    first = -(-cut // spec.stride) * spec.stride
    return range(first, samples - spec.window + 1, spec.stride)


def _recordings(rows: Sequence[str], column: int) -> Iterator[list[str]]:
    """Go through the rows of one recording after another."""
    current: list[str] = []
    name = None
    for row in rows:
        own = row.split(",")[column]
        if own != name and current:
            yield current
            current = []
        name = own
        current.append(row)
    if current:
        yield current


def _test_window(rows: Sequence[str], columns: Sequence[str], bare: str) -> TestWindow:
    kept = [i for i, c in enumerate(columns) if c not in ("recording", "label")]
    fields = [row.split(",") for row in rows]
    label = fields[0][columns.index("label")]
    return TestWindow(label, [bare, *(",".join(f[i] for i in kept) for f in fields)])


def _index(folder: Path) -> list[dict[str, object]]:
    try:
        index = json.loads((folder / INDEX).read_text())["devices"]
    except FileNotFoundError as error:
        raise SettingsError(
            f"{folder / INDEX}: is missing; for the watch run: python examples/watch/fetch.py"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{folder / INDEX}: not a list of devices: {error}") from error
    if not isinstance(index, list) or not index:
        raise SettingsError(f"{folder / INDEX}: names no devices")
    return index
