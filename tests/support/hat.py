"""A machine on a UPS hat that tells by a folder: its plug is pulled while it trains."""

import time
from dataclasses import dataclass
from pathlib import Path

from tests.support.installed import shown, status
from tests.support.machine import Machine
from tests.support.plug import POLL_S, cpu_ns, tree
from tests.support.waiting import until

# What an owner writes into agent.toml: docs/power.md.
POLICY = """
[policy]
mains = true
supplies = "/run/ups"
"""
# Minutes of work for a processor, in batches of milliseconds.
SLOW_TASK = """
[task]
name = "slow"
stream = "wrist"
window = 40
stride = 10
channels = 2
labels = ["label 0", "label 1", "label 2"]
rounds = 1
[model]
layers = [1024, 512, 3]
[training]
epochs = 1000
batch = 10
learning_rate = 0.01
[cohort]
goal = 1
"""
PATIENCE_S = 300.0  # a look at the conditions is a minute away by default, and a hold comes on top


@dataclass(frozen=True, slots=True)
class Pull:
    """What the training child did once the change was readable."""

    gone_s: float  # until it had ended
    cpu_s: float  # that it used meanwhile


class Hat:
    """What the hat's program writes, and the training child of the machine that it powers."""

    def __init__(self, pi: Machine, task: str) -> None:
        """task: the one that is trained"""
        self._pi = pi
        self._task = task
        folder = Path(f"/proc/{pi.init()}/root/run/ups/hat")  # /run as the machine sees it
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "type").write_text("UPS\n")
        self._status = folder / "status"
        self._agent = 0  # its process, once it was looked for
        self.plug_in()

    def plug_in(self) -> None:
        self._say("Charging")

    def pull(self, watch_s: float) -> Pull:
        """Unplug; returns when for so long there was no child any more."""
        before = self._cpu_ns()
        self._say("Discharging")
        start = time.monotonic()  # nothing tells that nothing happens: a while is watched
        last, gone_s = dict(before), 0.0
        while (now_s := time.monotonic() - start) < gone_s + watch_s:  # the same
            assert now_s < PATIENCE_S, "it trains on"
            found = self._cpu_ns()
            if found:
                last |= found
                gone_s = now_s + POLL_S
            time.sleep(POLL_S)  # a child that ends takes its counter with it: read this often
        return Pull(gone_s, sum(last[pid] - before.get(pid, 0) for pid in last) / 1e9)

    def until_it_trains(self) -> None:
        """Wait for a batch that is done from now on."""
        before = self._done()
        until(lambda: self._done() > before, says=self._pi.log, patience_s=PATIENCE_S)

    def _say(self, word: str) -> None:
        """As docs/power.md asks: a file is written as a whole."""
        new = self._status.with_suffix(".new")
        new.write_text(f"{word}\n")
        new.rename(self._status)

    def _done(self) -> int:
        """Batches of the task, as far as the child has told."""
        task = status(self._pi).get("tasks", {}).get(self._task, {})
        return int((task.get("progress") or {}).get("done", 0))

    def _cpu_ns(self) -> dict[int, int]:
        """Nanoseconds of each training child, by its process as it is seen from here."""
        found = {}
        for pid in [*tree(self._service())][1:]:
            try:
                found[pid] = cpu_ns(pid)
            except (FileNotFoundError, ProcessLookupError):  # it has just ended
                continue
        return found

    def _service(self) -> int:
        """The agent's process as it is seen from here."""
        if not self._agent or not Path(f"/proc/{self._agent}").exists():
            inside = shown(self._pi, "fedling-agent", "MainPID")
            self._agent = next(pid for pid in tree(self._pi.init()) if _inside(pid) == inside)
        return self._agent


def _inside(pid: int) -> str:
    """A process as its machine counts it; empty if it has just ended."""
    try:
        said = Path(f"/proc/{pid}/status").read_text().partition("NSpid:")[2]
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return said.splitlines()[0].split()[-1]
