import json
from pathlib import Path

import pytest

from bench.report import Report, table


def test_finish_writes_figures_machine_and_rows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report("kernel", tmp_path)
    report.row(net="600-64-7", us=41.25)
    report.figure("train_us", 41.25)
    result = json.loads(report.finish().read_text())
    assert result["figures"] == {"train_us": 41.25}
    assert result["rows"] == [{"net": "600-64-7", "us": 41.25}]
    assert result["machine"]["cores"] >= 1
    assert "train_us = 41.25" in capsys.readouterr().out


def test_figure_twice_is_refused(tmp_path: Path) -> None:
    report = Report("kernel", tmp_path)
    report.figure("x", 1)
    with pytest.raises(ValueError, match="written twice"):
        report.figure("x", 2)


def test_table_aligns_and_takes_missing_cells() -> None:
    assert table([{"net": "a", "us": 1234.5}, {"net": "long", "mb": 2}]).splitlines() == [
        "net     us  mb",
        "a     1234",
        "long         2",
    ]
