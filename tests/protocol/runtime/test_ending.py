"""The end of a service, and its beginning anew in the same process."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fedling_protocol.runtime import sdnotify
from fedling_protocol.runtime.ending import Ending
from fedling_protocol.runtime.loop import Loop
from tests.support.waiting import PATIENCE_S, Manager, until

# A service: it writes the number of its beginning, its process, and how it ended.
SERVICE = """
import logging, os, sys
from pathlib import Path
from fedling_protocol.runtime import sdnotify
from fedling_protocol.runtime.ending import Ending
from fedling_protocol.runtime.loop import Loop
logging.basicConfig(level="INFO")
here = Path(sys.argv[1])
with (here / "beginnings").open("a") as file:
    file.write(f"{os.getpid()}\\n")
while (here / "slow").exists():  # signals wait meanwhile
    pass
loop = Loop()
def why_not():
    return (here / "wrong").read_text() if (here / "wrong").exists() else ""
ending = Ending(loop, loop.stop, why_not)
sdnotify.ready("running")
def wait(where):
    if (here / where).exists():
        (here / f"{where} reached").touch()
    while (here / where).exists():
        pass
loop.run()
wait("the loop has ended")
ending.close()
loop.close()
wait("all is closed")
ending.finish()
"""


class Service:
    def __init__(self, here: Path, *, managed: bool = True) -> None:
        self.here = here
        self.manager = Manager()
        self.hear = self.manager.hear
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        if managed:
            environment |= self.manager.environment
        else:
            environment.pop("NOTIFY_SOCKET", None)
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVICE, str(here)], env=environment, stderr=subprocess.PIPE
        )

    def end(self) -> bytes:
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == 0
        self.manager.close()
        return said

    @property
    def beginnings(self) -> list[int]:
        return [int(line) for line in (self.here / "beginnings").read_text().split()]


def test_hangup_begins_anew_again_and_again_in_one_process(tmp_path: Path) -> None:
    service = Service(tmp_path)
    service.hear("READY=1")
    for _ in range(3):
        service.process.send_signal(signal.SIGHUP)
        assert "STOPPING=1" not in service.hear("RELOADING=1")
        service.hear("READY=1")
    service.end()
    assert service.beginnings == [service.process.pid] * 4


def test_hangup_while_it_begins_anew_is_not_its_end(tmp_path: Path) -> None:
    """Signals between the old and the new one wait until somebody listens."""
    service = Service(tmp_path)
    service.hear("READY=1")
    (tmp_path / "slow").touch()
    service.process.send_signal(signal.SIGHUP)
    service.hear("RELOADING=1")
    until(lambda: len(service.beginnings) >= 2)
    service.process.send_signal(signal.SIGHUP)
    (tmp_path / "slow").unlink()
    service.hear("READY=1")
    service.hear("READY=1")
    service.end()
    assert service.beginnings == [service.process.pid] * 3


def test_hangup_with_a_wrong_configuration_changes_nothing(tmp_path: Path) -> None:
    service = Service(tmp_path)
    service.hear("READY=1")
    (tmp_path / "wrong").write_text("agent.toml: no such key")
    service.process.send_signal(signal.SIGHUP)
    assert "STATUS=not reloaded: agent.toml: no such key" in service.hear("STATUS=not")
    assert b"goes on as before: agent.toml: no such key" in service.end()
    assert len(service.beginnings) == 1


def test_end_that_comes_after_a_hangup_is_the_end(tmp_path: Path) -> None:
    service = Service(tmp_path)
    service.hear("READY=1")
    (tmp_path / "slow").touch()
    service.process.send_signal(signal.SIGHUP)
    service.hear("RELOADING=1")
    until(lambda: len(service.beginnings) >= 2)
    service.process.send_signal(signal.SIGTERM)
    (tmp_path / "slow").unlink()
    service.hear("STOPPING=1")
    assert service.process.wait(PATIENCE_S) == 0
    service.manager.close()
    assert len(service.beginnings) == 2


@pytest.mark.parametrize("where", ["the loop has ended", "all is closed"])
@pytest.mark.parametrize("first", [signal.SIGHUP, signal.SIGTERM])
def test_signal_between_the_loop_and_what_comes_next_is_heard(
    tmp_path: Path, where: str, first: signal.Signals
) -> None:
    service = Service(tmp_path)
    service.hear("READY=1")
    (tmp_path / where).touch()
    service.process.send_signal(first)
    until((tmp_path / f"{where} reached").exists)
    service.process.send_signal(signal.SIGTERM)
    (tmp_path / where).unlink()
    assert service.process.wait(PATIENCE_S) == 0
    service.manager.close()
    begun_anew = first == signal.SIGHUP and where == "all is closed"
    assert len(service.beginnings) == 1 + begun_anew


def test_hangup_that_comes_after_the_end_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end takes a while: what is under way is finished first."""
    begun: list[object] = []
    monkeypatch.setattr(sdnotify, "managed", lambda: True)
    monkeypatch.setattr(os, "execv", lambda *words: begun.append(words))
    monkeypatch.setattr(signal, "pthread_sigmask", lambda *_words: None)
    loop = Loop()
    calls: dict[signal.Signals, Callable[[], None]] = {}
    monkeypatch.setattr(loop, "on_signal", calls.__setitem__)
    stopped: list[bool] = []
    ending = Ending(loop, lambda: stopped.append(True), str)
    calls[signal.SIGTERM]()
    calls[signal.SIGHUP]()
    ending.finish()
    loop.close()
    assert (stopped, begun) == ([True], [])


def test_hangup_without_a_service_manager_is_the_end(tmp_path: Path) -> None:
    service = Service(tmp_path, managed=False)
    assert service.process.stderr is not None
    until((tmp_path / "beginnings").exists)
    status = Path(f"/proc/{service.process.pid}/status")
    caught = 1 << (signal.SIGHUP - 1)
    until(lambda: int(status.read_text().split("SigCgt:\t")[1].split()[0], 16) & caught)
    service.process.send_signal(signal.SIGHUP)
    assert service.process.wait(PATIENCE_S) == 0
    service.manager.close()


CALLER = """
import os, signal
from fedling_protocol.runtime.ending import Ending
from fedling_protocol.runtime.loop import Loop
loop = Loop()
ending = Ending(loop, loop.stop, str)
loop.after(0, lambda: os.kill(os.getpid(), signal.SIGTERM))
loop.run()
ending.close()
os.kill(os.getpid(), signal.SIGTERM)  # too late: it waits
loop.close()
ending.finish()
assert not signal.pthread_sigmask(signal.SIG_BLOCK, ())
assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
print("goes on")
"""


def test_who_called_a_service_that_has_ended_is_left_as_it_was() -> None:
    """Children that it begins would else be deaf to SIGTERM."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-c", CALLER]
    assert subprocess.check_output(words, env=environment, timeout=PATIENCE_S) == b"goes on\n"
