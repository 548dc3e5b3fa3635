"""What is written is what tomllib reads."""

import tomllib
from pathlib import Path
from typing import Any

from fedling_sim import toml


def test_text_is_read_back() -> None:
    table: dict[str, Any] = {
        "name": 'a "quoted" \\ word °',
        "on": True,
        "share": 0.25,
        "list": ["x", "y"],
        "spans": [1.5, 2.0],
        "mixed": [{"conv": 3, "kernel": [1, 9]}, "average_pool", {}, 7],
        "outer": {"count": 3, "inner": {"empty": []}},
    }
    assert tomllib.loads(toml.text(table)) == table
    assert tomllib.loads(toml.text({"path": Path("/a/b")})) == {"path": "/a/b"}
