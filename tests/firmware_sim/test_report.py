"""The report shows what the record says and lets nothing from outside become markup."""

from pathlib import Path

import pytest

from fedling_sim import record as records
from fedling_sim import report
from fedling_sim.record import DeviceBytes, Event, Record, Round, Sample

DEVICES = ["aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"]


def sample_record() -> Record:
    return Record(
        task="watch",
        seed=1,
        devices=DEVICES,
        parameters=38_919,
        test_windows=706,
        learning_s=12.0,
        accuracy=0.875,
        rounds=[
            Round(1, 1, 0.0, 5.0, 1, [DEVICES[0]], [DEVICES[1]], 0.5),
            Round(2, 2, 5.0, 12.0, 1, [DEVICES[0], DEVICES[1]], [], 0.875),
        ],
        events=[
            Event(1.0, DEVICES[0], "left", "battery <script>"),
            Event(3.0, DEVICES[0], "back", ""),
            Event(3.0, DEVICES[1], "left", ""),
        ],
        samples=[Sample(1.0, d, "waiting", "battery too low") for d in DEVICES],
        bytes=[DeviceBytes(d, 78_000, 79_000, 78_100, 79_100) for d in DEVICES],
    )


def test_record_survives_saving(tmp_path: Path) -> None:
    records.save(sample_record(), tmp_path)
    assert records.load(tmp_path) == sample_record()


def test_record_load_refuses_another_file(tmp_path: Path) -> None:
    (tmp_path / records.FILE).write_text("{}")
    with pytest.raises(ValueError, match="is not a record of a run"):
        records.load(tmp_path)


def test_report_shows_the_figures(tmp_path: Path) -> None:
    page = report.write(sample_record(), tmp_path).read_text()
    assert "87.5 %" in page
    assert "75 %" in page  # participation: (1 + 2) / 2 rounds / 2 devices
    assert page.count("<svg") == 5
    assert sample_record().came_back == {DEVICES[0]}


def test_report_escapes_what_came_from_outside() -> None:
    assert "<script>" not in report.page(sample_record())


def test_report_of_an_empty_run_is_a_page() -> None:
    empty = Record(task="t", seed=0, devices=DEVICES, parameters=1, test_windows=0)
    assert "<svg" in report.page(empty)
