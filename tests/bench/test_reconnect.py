"""The bench's devices are taken for real ones, and all of them come back twice."""

from pathlib import Path

from bench import reconnect
from bench.report import Report
from tests.support.tools import need

DEVICES = 5


def test_every_device_comes_back_and_is_answered(tmp_path: Path) -> None:
    need("mosquitto")
    report = Report("reconnect-test", tmp_path)
    reconnect.run(report, DEVICES, tmp_path / "run", spread_s=1)
    links, restart = report.rows
    assert (links["failed"], restart["failed"]) == ("links", "restart")
    for row, prefix in ((links, ""), (restart, "restart_")):
        connects, last_s = row["connects"], row["last_s"]
        assert isinstance(connects, int)
        assert isinstance(last_s, float)
        assert connects >= DEVICES
        assert report.figures[f"{prefix}reconnect_s"] == last_s
        assert report.figures[f"{prefix}joined_s"] >= last_s
