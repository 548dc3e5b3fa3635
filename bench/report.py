"""What every bench shares: describe the machine, write bench/results/NAME.json, print a table.

A bench is a script that ends like this, run as python -m bench.NAME:

    report = Report("kernel")
    report.row(net="600-64-7", batch=1, us=41.2)
    report.figure("train_us", 41.2)
    report.finish()
"""

import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path

RESULTS = Path(__file__).parent / "results"

Cell = str | int | float | bool | None


def machine() -> dict[str, Cell]:
    """The machine that the figures were measured on."""
    return {
        "processor": processor_name(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": memory_gb(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def processor_name() -> str:
    """The model name as Linux tells it; boards have it in the device tree instead."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [x.split(":", 1)[1].strip() for x in lines if x.startswith(("model name", "Model"))]
    return names[0] if names else platform.processor()


def memory_gb() -> float:
    """Physical memory, in 2^30 bytes."""
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return round(pages * page / 2**30, 1)


class Report:
    """One bench's rows (what was measured) and figures (what documents quote)."""

    def __init__(self, name: str, results: Path = RESULTS) -> None:
        self.name = name
        self.results = results
        self.rows: list[dict[str, Cell]] = []
        self.figures: dict[str, int | float] = {}
        self._start = time.monotonic()

    def row(self, **cells: Cell) -> None:
        """Add a row. Rows may have different columns."""
        self.rows.append(cells)

    def figure(self, key: str, value: int | float) -> None:
        """Set one figure. A key is written once."""
        if key in self.figures:
            raise ValueError(f"bench {self.name}: figure {key} is written twice")
        self.figures[key] = value

    def finish(self) -> Path:
        """Write the result file, print rows and figures."""
        self.results.mkdir(parents=True, exist_ok=True)
        path = self.results / f"{self.name}.json"
        result = {
            "figures": self.figures,
            "machine": machine(),
            "seconds": round(time.monotonic() - self._start, 1),
            "rows": self.rows,
        }
        path.write_text(json.dumps(result, indent=1) + "\n")
        if self.rows:
            print(table(self.rows))
        for key, value in self.figures.items():
            print(f"{key} = {text(value)}")
        sys.stdout.flush()
        return path


def text(cell: Cell) -> str:
    """Four significant digits are more than most benches can tell apart."""
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.0f}" if abs(cell) >= 1000 else f"{cell:.4g}"
    return str(cell)


def table(rows: list[dict[str, Cell]]) -> str:
    """Rows as aligned text: numbers to the right, words to the left."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    widths = {c: max(len(c), *(len(text(row.get(c))) for row in rows)) for c in columns}
    return "\n".join(
        [line({c: c for c in columns}, widths, rows)]
        + [line({c: row.get(c) for c in columns}, widths, rows) for row in rows]
    )


def line(cells: Mapping[str, Cell], widths: dict[str, int], rows: list[dict[str, Cell]]) -> str:
    """One line of the table."""
    parts = []
    for column, width in widths.items():
        words = any(isinstance(row.get(column), str) for row in rows)
        cell = text(cells[column])
        parts.append(cell.ljust(width) if words else cell.rjust(width))
    return "  ".join(parts).rstrip()
