"""Which devices a data folder has, and what each of them has recorded."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from fedling_agent.data.streams import Stream
from fedling_protocol.classes import dataclass
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire.messages import TaskSpec
from fedling_sim import sheet
from fedling_sim.sheet import Lines, Sheet
from fedling_sim.splitting import DeviceData, split

INDEX = "devices.json"
SHOWN = 5  # labels or devices that are named in a sentence

# A name is also that of a folder.
_is_name = re.compile(r"\w[\w .@+-]{0,63}").fullmatch


@dataclass(frozen=True, slots=True)
class Source:
    """A device, and where its samples are."""

    name: str
    path: Path
    lines: Lines | None = None  # its own of a file with several devices; None: the whole file

    def read(self, stream: Stream) -> Sheet:
        """Read its samples. Raises SettingsError."""
        return sheet.read(self.lines or sheet.whole(self.path), stream)


def sources(folder: Path) -> list[Source]:
    """List the devices of a data folder: those of devices.json, else one for each CSV file.

    It may also be one file with a column `device`. Raises SettingsError.
    """
    index = folder / INDEX
    if folder.is_file():
        found = [Source(name, folder, lines) for name, lines in sheet.by_device(folder).items()]
    else:
        found = list(_listed(index) if index.exists() else _files(folder))
    if not found:
        raise SettingsError(f"{folder}: holds no samples")
    names = Counter(source.name for source in found)
    for name, count in names.items():
        if not _is_name(name):
            allowed = "1 to 64 letters, digits, blanks and . _ @ + -, a letter or digit first"
            raise SettingsError(f"{folder}: device {name!r}: allowed: {allowed}")
        if count > 1:
            raise SettingsError(f"{index}: device {name!r} comes {count} times")
    return found


def load(folder: Path, stream: Stream, spec: TaskSpec, count: int) -> list[DeviceData]:
    """Load the first `count` devices (0: all). Raises SettingsError: file, row, reason."""
    found = sources(folder)
    if count > len(found):
        raise SettingsError(f"{folder}: has {len(found)} devices, not {count}")
    short: Counter[str] = Counter()
    data = [
        split(source.name, source.read(stream), spec, short) for source in found[: count or None]
    ]
    if not any(device.windows for device in data):
        raise SettingsError(f"{folder}: nothing to learn from: {why_nothing(data, spec)}")
    return data


def _files(folder: Path) -> Iterator[Source]:
    """A device for each CSV file, in the order of their names."""
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".csv")
    except OSError as error:
        hint = "; for the watch run: python examples/watch/fetch.py"
        raise SettingsError(f"{folder}: {error.strerror}{hint}") from error
    if not paths:
        raise SettingsError(f"{folder}: holds no CSV file; there is one for each device")
    return (Source(path.stem, path) for path in paths)


def _listed(index: Path) -> Iterator[Source]:
    """The devices that devices.json names: {"devices": [{"name": ..., "file": ...}, ...]}."""
    for number, entry in enumerate(_entries(index), start=1):
        name, file = (
            (entry.get("name"), entry.get("file")) if isinstance(entry, dict) else (None, None)
        )
        if not isinstance(name, str) or not isinstance(file, str):
            raise SettingsError(f'{index}: device {number}: allowed: {{"name": ..., "file": ...}}')
        if Path(file).name != file:
            raise SettingsError(f"{index}: device {number}: file {file!r} is not in this folder")
        yield Source(name, index.parent / file)


def _entries(index: Path) -> list[object]:
    try:
        entries = json.loads(index.read_bytes())["devices"]
    except OSError as error:
        raise SettingsError(f"{index}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SettingsError(f"{index}: not a list of devices: {error}") from error
    if not isinstance(entries, list) or not entries:
        raise SettingsError(f"{index}: names no devices")
    return entries


# --- what a person should know of the data --------------------------------------------------------


def why_nothing(data: Sequence[DeviceData], spec: TaskSpec) -> str:
    """Say why no device has a window to train on."""
    longest = max(data, key=lambda device: device.longest)
    labels = _labels(data)
    if not set(labels) - {""}:
        return f"no sample has a label; the task has {_some(spec.labels)}"
    if not set(labels) & set(spec.labels):
        return f"the labels are {_counted(labels)}, the task has {_some(spec.labels)}"
    return (
        f"task.window is {spec.window} samples, and the longest stretch of one label has"
        f" {longest.longest} ({longest.path})"
    )


def notes(data: Sequence[DeviceData], spec: TaskSpec) -> list[str]:
    """Say what is not learned from and what is not tested; nothing if all is as one thinks."""
    return [
        note
        for note in (
            _refused(data),
            _foreign(data, spec),
            _idle(data),
            _untested(data, spec),
        )
        if note
    ]


def _refused(data: Sequence[DeviceData]) -> str:
    count = sum(len(device.refused) for device in data)
    if not count:
        return ""
    first = next(device for device in data if device.refused)
    row = first.refused[0]
    return f"{_many(count, 'row')} refused, the first: {first.path} row {row.row}: {row.reason}"


def _foreign(data: Sequence[DeviceData], spec: TaskSpec) -> str:
    """Of samples whose label the task does not have."""
    others = Counter({k: n for k, n in _labels(data).items() if k not in spec.labels})
    without = others.pop("", 0)
    parts = [f"{_many(without, 'sample')} without a label"] if without else []
    parts += [f"labels that the task does not have: {_counted(others)}"] if others else []
    return f"not learned from: {'; '.join(parts)}" if parts else ""


def _idle(data: Sequence[DeviceData]) -> str:
    names = [device.name for device in data if not device.windows]
    return f"no window to train on: {_some(names)}" if names else ""


def _untested(data: Sequence[DeviceData], spec: TaskSpec) -> str:
    tested = Counter(test.label for device in data for test in device.tests)
    if not tested:
        return (
            "nothing is tested: no recording has a window in its last fifth, and no label has five"
            " recordings"
        )
    missing = [label for label in spec.labels if label not in tested]
    return f"not tested: {_some(missing)}" if missing else ""


def _labels(data: Sequence[DeviceData]) -> Counter[str]:
    total: Counter[str] = Counter()
    for device in data:
        total += device.labels
    return total


def _counted(labels: Counter[str]) -> str:
    return _some([f"{label} ({_many(n, 'sample')})" for label, n in labels.most_common() if label])


def _some(words: Sequence[str]) -> str:
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + more


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
