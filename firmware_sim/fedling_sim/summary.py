"""What happened in a run, for a terminal."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from fedling_sim.record import Record


def show(console: Console, record: Record, page: Path) -> None:
    """Print a few figures and where the report is."""
    table = Table.grid(padding=(0, 2))
    for name, value in figures(record).items():
        table.add_row(name, f"[bold]{value}[/]")
    console.print(table)
    console.print(f"\nreport: {page}", highlight=False, soft_wrap=True)


def figures(record: Record) -> dict[str, str]:
    """Choose what a person wants to know first."""
    accuracy = "none" if record.accuracy is None else f"{100 * record.accuracy:.1f} %"
    return {
        "test accuracy": f"{accuracy} of {record.test_windows} windows that no device has stored",
        "learning": f"{len(record.rounds)} rounds in {record.learning_s:.0f} s",
        "participation": f"{100 * record.participation:.0f} % of {len(record.devices)} devices",
        "left in mid-training": f"{len(record.left)} devices, {len(record.came_back)} came back",
        "told “late”": f"{sum(len(r.late) for r in record.rounds)} updates",
        "bytes": f"{record.bytes_a_round / 1000:.0f} kB a device and round",
        "audit": record.verified,
        "accounts": record.accounts,
    }
