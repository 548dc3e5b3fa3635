"""The report shows what the record says and lets nothing from outside become markup."""

from dataclasses import replace
from pathlib import Path

import pytest

from fedling_protocol.disk.errors import BadInput, Missing
from fedling_sim import record as records
from fedling_sim import report, summary
from fedling_sim.record import Alone, DeviceBytes, Event, Record, Round, Sample

DEVICES = ["aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb"]


def sample_record() -> Record:
    return Record(
        task="watch",
        seed=1,
        devices=DEVICES,
        parameters=38_919,
        test_windows=706,
        tests_by_label={"walk": 300, "<b>fall": 406, "sit": 0},
        notes=["1 row refused, the first: <i>"],
        accuracy=0.875,
        accuracy_by_device={DEVICES[0]: 0.9},
        training_by_device=dict.fromkeys(DEVICES, 100),
        tests_by_device=dict.fromkeys(DEVICES, 353),
        alone=[Alone(DEVICES[0], 0.75, 0.25), Alone(DEVICES[1], None, 0.35)],
        confusion={"walk": {"walk": 290, "<b>fall": 10}, "<b>fall": {"<b>fall": 406}},
        example="a says walk",
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
    with pytest.raises(BadInput, match="is not a record of a run"):
        records.load(tmp_path)
    with pytest.raises(Missing, match=r"run\.json: there is no such file"):
        records.load(tmp_path / "elsewhere")


def test_report_shows_the_figures(tmp_path: Path) -> None:
    page = report.write(sample_record(), tmp_path).read_text()
    assert "87.5 %" in page
    assert "75 %" in page  # participation: (1 + 2) / 2 rounds / 2 devices
    assert page.count("<svg") == 5
    assert sample_record().came_back == {DEVICES[0]}


def test_report_tells_what_was_learned_and_compares() -> None:
    page = report.page(sample_record())
    assert "Guessing: 57.5 %: always &lt;b&gt;fall." in page
    assert "Alone: 30.0 % of everybody&#x27;s windows, 75.0 % of its own" in page
    assert "a says walk." in page
    assert f"<tr><td>{DEVICES[0]}<td>100<td>353<td>90.0 %<td>75.0 %<td>25.0 %" in page
    assert "<tr><td>walk<td>290<td>10<td><td>96.7 %" in page
    assert "<tr><td>sit<td><td><td><td>not tested" in page
    assert "note: 1 row refused" in page
    assert "docs/simulation.md" in page


def test_report_of_an_interrupted_run_claims_no_audit() -> None:
    cut = replace(
        sample_record(), interrupted=True, accuracy=None, rounds=sample_record().rounds[:1]
    )
    page = report.page(cut)
    assert "The shared model: 50.0 % of 706 windows that no device has stored after round 1" in page
    assert "one to one" not in page
    assert "audit" not in summary.figures(cut)


def test_summary_says_when_nothing_was_tested() -> None:
    empty = Record(task="t", seed=0, devices=DEVICES, parameters=1, test_windows=0)
    assert summary.figures(empty)["test accuracy"] == "not known: nothing was tested"
    assert "The shared model: not known: nothing was tested." in report.page(empty)
    assert "<b>not tested</b>test accuracy" in report.page(empty)


def test_report_escapes_what_came_from_outside() -> None:
    page = report.page(sample_record())
    assert "<script>" not in page
    assert "<b>fall" not in page
    assert "<i>" not in page


def test_report_of_an_empty_run_is_a_page() -> None:
    empty = Record(task="t", seed=0, devices=DEVICES, parameters=1, test_windows=0)
    assert "<svg" in report.page(empty)
