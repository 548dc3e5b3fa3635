"""What happened in a run, for a terminal."""

import shlex
from pathlib import Path

from rich.console import Console
from rich.text import Text

from fedling_sim.record import Record


def show(console: Console, record: Record, page: Path, task: Path) -> None:
    """Print a few figures, where the report is, and what to do next."""
    for name, value in figures(record).items():
        console.print(Text.assemble(f"{name:22}", (value, "bold")), soft_wrap=True)
    for line in (
        "",
        f"report: {page.absolute()}",
        f"next:   fedling-sim run {shlex.quote(str(task))} --seed {record.seed + 1}"
        "    # other days, other weights",
        "        your own CSV files instead: docs/simulation.md; real devices: README.md",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def figures(record: Record) -> dict[str, str]:
    """Choose what a person wants to know first."""
    shown = {
        "test accuracy": accuracy(record),
        "alone": alone(record),
        "guessing": guessing(record),
        "for example": record.example,
        "learning": f"{len(record.rounds)} rounds in {record.learning_s:.0f} s, the first"
        f" {record.first_round_s:.1f} s after the start",
        "participation": f"{100 * record.participation:.0f} % of {len(record.devices)} devices",
        "left in mid-training": f"{len(record.left)} devices, {len(record.came_back)} came back",
        "told “late”": f"{sum(len(r.late) for r in record.rounds)} updates",
        "bytes": f"{record.bytes_a_round / 1000:.0f} kB a device and round,"
        f" {record.bytes_an_update:,.0f} bytes an update",
        "audit": record.verified,
        "accounts": "" if record.interrupted else record.accounts,
    }
    return {name: value for name, value in shown.items() if value}


def accuracy(record: Record) -> str:
    """Say how right the newest model is, and on what it was tested."""
    if record.last_accuracy is None:
        return "not known: nothing was tested"
    after = f" after round {record.rounds[-1].number}" if record.interrupted else ""
    return (
        f"{100 * record.last_accuracy:.1f} % of {record.test_windows} windows that no device has"
        f" stored{after}"
    )


def alone(record: Record) -> str:
    """Say how right the devices would be without each other."""
    own, everybodys = record.alone_on_own, record.alone_on_all
    if own is None or everybodys is None:
        return ""
    return (
        f"{100 * everybodys:.1f} % of everybody's windows, {100 * own:.1f} % of its own: a device"
        " that learns from its own examples only"
    )


def guessing(record: Record) -> str:
    """Say how right it is to say the commonest label always."""
    if record.majority is None:
        return ""
    label, share = record.majority
    return f"{100 * share:.1f} %: always {label}"
