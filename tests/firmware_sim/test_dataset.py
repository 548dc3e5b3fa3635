"""Other people's files: each works, or is refused with file, row and reason."""

import json
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from fedling_protocol.settings import SettingsError
from fedling_sim import dataset
from fedling_sim.simulation import Scenario, load
from fedling_sim.splitting import DeviceData
from tests.support import small_task

HEADER = "recording,label,x,y"
ROWS = [f"r-{label},{label},{i}.5,{k}" for k, label in enumerate(small_task.LABELS)
        for i in range(100)]  # fmt: skip
PLAIN = "\n".join([HEADER, *ROWS]) + "\n"


def scenario(folder: Path, text: str | bytes) -> Scenario:
    """The small task, whose only device has this file."""
    task = small_task.write(folder, devices=1)
    data = text if isinstance(text, bytes) else text.encode()
    (folder / "data" / "watch-0.csv").write_bytes(data)
    return load(task)


def loaded(given: Scenario) -> list[DeviceData]:
    return dataset.load(given.simulation.data, given.stream, given.task.spec, 0)


def without(column: int) -> str:
    """The plain file without a column."""
    lines = [line.split(",") for line in PLAIN.splitlines()]
    return "\n".join(",".join(x for i, x in enumerate(line) if i != column) for line in lines)


WORKS: dict[str, tuple[str | bytes, str]] = {  # a file, what is noted of it
    "plain": (PLAIN, ""),
    "bom": ("\ufeff" + PLAIN, ""),
    "windows line ends": (PLAIN.replace("\n", "\r\n"), ""),
    "no last line end": (PLAIN.rstrip("\n"), ""),
    "blank lines at the end": (PLAIN + "\n\n", ""),
    "blank lines in the middle": (PLAIN.replace("r-wave,wave,50.5", "\n\nr-wave,wave,50.5"), ""),
    "blank lines at the beginning": ("\n\n" + PLAIN, ""),
    "quoted labels": (PLAIN.replace(",wave,", ',"wave",'), ""),
    "quoted header": (PLAIN.replace(HEADER, '"recording","label","x","y"'), ""),
    "blanks around labels": (PLAIN.replace(",wave,", ", wave ,"), ""),
    "a label with a comma": (PLAIN.replace(",wave,", ',"wa,ve",'), r"wa,ve \(100 samples\)"),
    "a label in capitals": (PLAIN.replace(",wave,", ",WAVE,"), r"WAVE \(100 samples\)"),
    "an empty label": (PLAIN.replace(",wave,", ",,"), "100 samples without a label"),
    "a value that is none": (PLAIN.replace("wave,50.5", "wave,nan"), r"1 row refused.*row 152"),
    "a value out of range": (PLAIN.replace("wave,50.5", "wave,1e9"), "1 row refused"),
    "a row that is short": (PLAIN.replace("wave,50.5,1", "wave,50.5"), "3 columns"),
    "rows sorted by label in one recording": (
        "\n".join(["recording,label,x,y", *(f"r,{row.split(',', 1)[1]}" for row in ROWS)]), "",
    ),
    "tabs": (PLAIN.replace(",", "\t"), ""),
    "semicolons": (PLAIN.replace(",", ";"), ""),
    "semicolons and decimal commas": (PLAIN.replace(",", ";").replace(".", ","), ""),
    "a time column": (PLAIN.replace(HEADER, "time," + HEADER).replace("r-", "1.5,r-"), ""),
}  # fmt: skip

REFUSED: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "holds no samples"),
    "header only": (HEADER + "\n", "holds no samples"),
    "blank lines only": ("\n\n\n", "holds no samples"),
    "no label column": (without(1), "no sample has a label; the task has rest, wave, turn"),
    "a column less": (without(3), "column y is missing"),
    "an unknown column": (PLAIN.replace(HEADER, HEADER + ",z"), "unknown column z"),
    "one recording a row": (
        "\n".join([HEADER, *(f"r{i},{row.split(',', 1)[1]}" for i, row in enumerate(ROWS))]),
        "task.window is 10 samples, and the longest stretch of one label has 1 ",
    ),
    "labels of another task": (
        PLAIN.replace(",wave,", ",A,").replace(",rest,", ",B,").replace(",turn,", ",C,"),
        r"the labels are B \(100 samples\), A \(100 samples\), C .*, the task has rest, wave",
    ),
    "every row refused": (PLAIN.replace(".5,", ".5.5,"), r"watch-0\.csv: row 2: x = 0\.5\.5"),
    "utf-16": (PLAIN.encode("utf-16"), r"watch-0\.csv: this is UTF-16 text: save it as UTF-8"),
    "gzip": (b"\x1f\x8b\x08\x00\xff\xfe\xfd" * 20, r"watch-0\.csv: this is compressed with gzip"),
    "nul bytes": (b"\0" * 300, "watch-0.csv"),
}


@pytest.mark.parametrize("name", WORKS)
def test_load_of_what_people_have(tmp_path: Path, name: str) -> None:
    text, noted = WORKS[name]
    given = scenario(tmp_path, text)
    data = loaded(given)
    assert data[0].windows
    notes = dataset.notes(data, given.task.spec)
    if noted:
        assert len([note for note in notes if re.search(noted, note)]) == 1, notes
    else:
        assert notes == []
        assert {test.label for test in data[0].tests} == set(given.task.spec.labels)


@pytest.mark.parametrize("name", REFUSED)
def test_load_of_what_cannot_be_learned_says_where_and_why(tmp_path: Path, name: str) -> None:
    text, said = REFUSED[name]
    with pytest.raises(SettingsError, match=said):
        loaded(scenario(tmp_path, text))


def test_load_of_windows_longer_than_the_data(tmp_path: Path) -> None:
    given = scenario(tmp_path, "\n".join([HEADER, *ROWS[:7]]))
    with pytest.raises(SettingsError, match=r"window is 10 .* has 7 \(.*watch-0\.csv\)"):
        loaded(given)


# --- devices.json, and folders without -----------------------------------------------------------

INDICES: dict[str, tuple[object, str]] = {
    "of strings": (["watch-0"], r"devices\.json: device 1: allowed"),
    "of numbers": ([{"name": 7, "file": "watch-0.csv"}], "device 1: allowed"),
    "without a file": ([{"name": "a"}], "device 1: allowed"),
    "a device twice": ([{"name": "a", "file": "watch-0.csv"}] * 2, "device 'a' comes 2 times"),
    "empty": ([], "names no devices"),
    "a text": ("watch-0", "names no devices"),
    "a name that is a path": (
        [{"name": "../../../evil", "file": "watch-0.csv"}], "'../../../evil': allowed",
    ),
    "a name that is a folder": ([{"name": "..", "file": "watch-0.csv"}], "allowed"),
    "an empty name": ([{"name": "", "file": "watch-0.csv"}], "allowed"),
    "a file elsewhere": ([{"name": "a", "file": "../task.toml"}], "is not in this folder"),
    "an absolute file": ([{"name": "a", "file": "/etc/passwd"}], "is not in this folder"),
    "a file that is missing": (
        [{"name": "a", "file": "b.csv"}], r"b\.csv: No such file or directory",
    ),
    "a file that is a folder": ([{"name": "a", "file": "sub"}], r"sub: Is a directory"),
}  # fmt: skip


@pytest.mark.parametrize("name", INDICES)
def test_load_of_a_wrong_index_says_what_is_allowed(tmp_path: Path, name: str) -> None:
    devices, said = INDICES[name]
    given = scenario(tmp_path, PLAIN)
    (given.simulation.data / "sub").mkdir()
    (given.simulation.data / dataset.INDEX).write_text(json.dumps({"devices": devices}))
    with pytest.raises(SettingsError, match=said):
        loaded(given)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"device": []}', "[" * 100_000, "\xff"])
def test_load_of_an_index_that_is_none(tmp_path: Path, text: str) -> None:
    given = scenario(tmp_path, PLAIN)
    (given.simulation.data / dataset.INDEX).write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingsError, match=r"devices\.json: "):
        loaded(given)


def test_load_without_an_index_takes_a_device_a_file(tmp_path: Path) -> None:
    given = scenario(tmp_path, PLAIN)
    folder = given.simulation.data
    (folder / dataset.INDEX).unlink()
    (folder / "Müller left.csv").write_text(PLAIN)
    (folder / "UPPER.CSV").write_text(PLAIN)
    (folder / "notes.txt").write_text("not a device")
    assert [device.name for device in loaded(given)] == ["Müller left", "UPPER", "watch-0"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_load_of_one_file_with_a_column_of_devices(tmp_path: Path, separator: str) -> None:
    """Each device gets its own rows; a refused one is named by its place in the file."""
    given = scenario(tmp_path, PLAIN)
    rows = [f'"{name}",{row}' for row in ROWS for name in ("left", "right, old")]
    rows[6] = "left,r-rest,rest,nan,0"
    table = "\ufeff" + "\n".join([f"device,{HEADER}", "", *rows]) + "\n"
    path = given.simulation.data / "all.csv"
    path.write_text(table.replace("right, old", "right old").replace(",", separator))
    data = dataset.load(path, given.stream, given.task.spec, 0)
    assert [device.name for device in data] == ["left", "right old"]
    assert [sum(device.labels.values()) for device in data] == [299, 300]
    assert "all.csv row 9: x = nan" in dataset.notes(data, given.task.spec)[0]
    (alone,) = loaded(given)
    own = [[line.replace(",", separator) for line in part.lines] for part in alone.training]
    assert [part.lines for part in data[1].training] == own


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (PLAIN, r"all\.csv: a folder, or a file with a column device, is allowed"),
        ("", "a folder, or a file with a column device"),
        (f"device,{HEADER}\n", "holds no samples"),
        (f"device,{HEADER}\na,r,rest,1,1\n,r,rest,1,1\n", "row 3: device is missing"),
        (f"device,{HEADER}\n../a,r,rest,1,1\n", "device '../a': allowed"),
        (f"device,{HEADER}\na,r,rest,x,1\n", "row 2: x = x is not a number"),
        (f"device,device,{HEADER}\na,a,r,rest,1,1\n", "unknown column device"),
    ],
)
def test_load_of_a_wrong_file_of_devices_says_where(tmp_path: Path, text: str, said: str) -> None:
    given = scenario(tmp_path, PLAIN)
    path = given.simulation.data / "all.csv"
    path.write_text(text)
    with pytest.raises(SettingsError, match=said):
        dataset.load(path, given.stream, given.task.spec, 0)


def test_load_of_a_folder_without_files_says_what_belongs_there(tmp_path: Path) -> None:
    given = scenario(tmp_path, PLAIN)
    for path in given.simulation.data.iterdir():
        path.unlink()
    with pytest.raises(SettingsError, match="holds no CSV file; there is one for each device"):
        loaded(given)
    os.rmdir(given.simulation.data)
    with pytest.raises(SettingsError, match="data: No such file or directory"):
        loaded(given)


def test_load_takes_the_first_devices(tmp_path: Path) -> None:
    given = load(small_task.write(tmp_path))
    folder, spec = given.simulation.data, given.task.spec
    names = [device.name for device in dataset.load(folder, given.stream, spec, 2)]
    assert names == ["watch-0", "watch-1"]
    with pytest.raises(SettingsError, match="has 5 devices, not 9"):
        dataset.load(folder, given.stream, spec, 9)


def test_notes_tell_of_devices_and_labels_that_take_no_part(tmp_path: Path) -> None:
    given = load(small_task.write(tmp_path, devices=2))
    short = "\n".join([HEADER, *ROWS[:12]])
    (given.simulation.data / "watch-0.csv").write_text(short)
    (given.simulation.data / "watch-1.csv").write_text(short.replace(",rest,", ",Rest,"))
    data = loaded(given)
    assert [note.partition(":")[0] for note in dataset.notes(data, given.task.spec)] == [
        "not learned from", "no window to train on", "nothing is tested",
    ]  # fmt: skip
    assert Counter(data[0].labels) == {"rest": 12}
