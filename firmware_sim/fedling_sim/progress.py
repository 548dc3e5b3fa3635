"""Tells a person how a run goes: a live display on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table

from fedling_sim.observer import Now
from fedling_sim.record import Event

LINE_S = 10.0  # a plain line at least so often, beside one for each round
EVENTS = 4  # shown live
COLOURS = {"training": "green", "talking": "cyan", "paused": "yellow", "waiting": "bright_black"}


class Progress(Protocol):
    """Told often; shows as much of it as is of use."""

    def say(self, text: str) -> None:
        """Say a sentence that stays."""

    def show(self, now: Now, events: list[Event]) -> None:
        """Show the state of things."""

    def close(self) -> None:
        """End the display: the last word was said."""


class Silence:
    """Tells nothing, for --json: standard output is for data only."""

    def say(self, text: str) -> None:
        pass

    def show(self, now: Now, events: list[Event]) -> None:
        pass

    def close(self) -> None:
        pass


class Lines:
    """Prints a line when a round opens or is done, whole lines: a program may read them."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._shown = (0, 0)  # rounds that were done, the one in work
        self._told = 0.0

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def show(self, now: Now, events: list[Event]) -> None:
        shown = (now.folded, now.round)
        if shown == self._shown and time.monotonic() - self._told < LINE_S:
            return
        done = now.folded > self._shown[0]
        self._shown, self._told = shown, time.monotonic()
        head = headline(now, now.folded, now.closed) if done else headline(now)
        why = f"; why not: {words(now.why)}" if now.why else ""
        self.say(f"{now.second:4.0f} s  {head}  {words(now.doing)}{why}")

    def close(self) -> None:
        pass


class Display:
    """Shows one picture that changes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False)

    def show(self, now: Now, events: list[Event]) -> None:
        if self._live is None:
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._live.update(picture(now, events), refresh=True)

    def close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def for_console(console: Console, *, silent: bool) -> Progress:
    """Choose the progress that suits where it is shown."""
    if silent:
        return Silence()
    live = console.is_terminal and not console.is_dumb_terminal
    return Display(console) if live else Lines(console)


def headline(now: Now, number: int = 0, updates: int = 0) -> str:
    """Write round, updates and accuracy in a line. number: of a round that is done."""
    accuracy = "" if now.accuracy is None else f"  accuracy {100 * now.accuracy:4.1f} %"
    if not number:
        number, updates = now.round, now.accepted
    return f"round {number:2}/{now.rounds}  {updates:2}/{now.goal} updates{accuracy}"


def words(counts: Mapping[str, int]) -> str:
    """Write counts as "9 training, 2 paused"."""
    ordered = sorted(counts.items(), key=lambda pair: -pair[1])
    return ", ".join(f"{count} {word}" for word, count in ordered) or "none"


def picture(now: Now, events: list[Event]) -> Panel:
    """Make the live display."""
    rows = Table.grid(padding=(0, 2))
    rows.add_row("round", f"{now.round} of {now.rounds}", _bar(now.round - 1, now.rounds))
    rows.add_row("updates", f"{now.accepted} of {now.goal}", _bar(now.accepted, now.goal))
    if now.accuracy is not None:
        share = 100 * now.accuracy
        rows.add_row("accuracy", f"[bold]{share:.1f} %[/]", _bar(int(share), 100))
    doing = "  ".join(
        f"[{COLOURS.get(word, 'white')}]{count} {word}[/]"
        for word, count in sorted(now.doing.items())
    )
    why = f"[bright_black]why not: {words(now.why)}[/]"
    last = [f"[bright_black]{e.second:4.0f} s[/] {e.device} {e.detail}" for e in events[-EVENTS:]]
    lines = [f"devices   {doing}", why, *last, *[""] * (EVENTS - len(last))]
    return Panel(Group(rows, *lines), title=f"{now.second:.0f} s", title_align="left", width=88)


def _bar(done: int, total: int) -> ProgressBar:
    return ProgressBar(total=total, completed=max(0, done), width=40)
