"""`fedling-agent ingest` as a live pipe and as a file: pauses, signals, restarts, repetitions."""

import fcntl
import os
import shlex
import signal
import subprocess
import termios
import threading
import time
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fedling_agent import cli
from fedling_agent.commands import feeding
from fedling_agent.store.database import PROGRAM
from fedling_agent.store.store import Store
from fedling_protocol.disk import lock
from fedling_protocol.exits import Exit
from tests.support.agent import Agent, rows
from tests.support.waiting import PATIENCE_S, until

NOWHERE = 1  # a port that nobody listens on
HEADER = "recording,label,x,y\n"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Agent]:
    agent = Agent(tmp_path / "device", NOWHERE)
    agent.run("init")
    yield agent
    if agent.process is not None:
        agent.stop()
    assert "Traceback" not in agent.log_text()


@pytest.fixture(params=[True, False], ids=["service", "alone"])
def either(agent: Agent, request: pytest.FixtureRequest) -> Agent:
    """A device with its service, or without."""
    if request.param:
        agent.serve()
    return agent


class Pipe:
    """A sensor that says what the test says, to an ingest."""

    def __init__(self, agent: Agent, *words: str) -> None:
        self.agent = agent
        self.said = 0  # rows
        self.process = subprocess.Popen(
            agent.command("ingest", "wrist", *words),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def say(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text)
        self.process.stdin.flush()

    def rows(self, count: int) -> None:
        """Each has its number as value."""
        numbers = range(self.said, self.said + count)
        self.say("".join(f"door,open,{n / 100},0\n" for n in numbers))
        self.said += count

    def until(self, samples: int) -> None:
        """Wait for so many samples in the store, but not for ever: a flush may be gone."""

        def there() -> bool:
            assert self.process.poll() is None, self.process.communicate()
            return stored(self.agent) == samples

        until(there, says=lambda: f"{stored(self.agent)} of {samples} samples are stored")

    def end(self, code: int) -> str:
        """What it says at its end."""
        out, err = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == code, out + err
        return out + err


def stored(agent: Agent) -> int:
    """Samples of all recordings."""
    try:
        store = Store(agent.state, read_only=True)
    except Exception:  # noqa: BLE001 (not made yet, or being made)
        return 0
    try:
        return sum(summary.samples for summary in store.recordings.summary().values())
    finally:
        store.close()


def door(agent: Agent) -> tuple[list[int], int]:
    """The values of a pipe's recording, and its holes."""
    store = Store(agent.state, read_only=True)
    recording = store.recordings.by_id("wrist", "door")
    assert recording is not None
    data = store.recordings.samples(recording, 0, recording.samples)
    holes = len(store.recordings.stretches(recording)) - 1
    store.close()
    return list(memoryview(data).cast("h"))[::2], holes


# --- what the command line says of all rows -----


def test_a_file_of_another_program_is_stored(either: Agent) -> None:
    """A table of a phone: no recording, no label, semicolons, decimal commas and dates."""
    table = "time;x;y\n" + "".join(f"2026-03-01T12:00:00.{n}00Z;1,{n};2\n" for n in range(5))
    file = either.directory / "phone.csv"
    file.write_text(table)
    words = ("ingest", "wrist", str(file), "--recording", "door", "--label", "open")
    assert either.run(*words).stdout.startswith("stored 5 rows, refused 0 (")
    assert door(either) == ([100, 110, 120, 130, 140], 0)
    (about,) = either.json("recordings", "list")
    assert about["labels"] == {"open": 5}


# --- a pipe that pauses, and its end -----


def test_rows_are_stored_although_no_other_comes(either: Agent) -> None:
    pipe = Pipe(either)
    pipe.say(HEADER)
    for count in (40, 1, 700):
        pipe.rows(count)
        pipe.until(pipe.said)
    pipe.say("door,open,1")  # not complete
    pipe.say(",2\n")
    pipe.until(742)
    assert "stored 742 rows, refused 0" in pipe.end(Exit.OK)
    assert door(either)[1] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stores_what_was_read_and_tells_how_far_it_came(
    either: Agent, number: signal.Signals
) -> None:
    pipe = Pipe(either)
    pipe.say(HEADER)
    pipe.rows(1)
    pipe.until(1)  # it runs
    pipe.rows(54)
    pipe.say("door,open,nan,0\ndoor,open,0.5")
    pipe.until(55)
    pipe.process.send_signal(number)
    said = pipe.end(Exit.INTERRUPTED)
    assert "stored 55 rows, refused 1; interrupted after row 57" in said
    assert "Traceback" not in said


def test_a_signal_right_after_a_burst_loses_no_row(agent: Agent) -> None:
    """Read or not read: what is told to be stored is stored, and nothing else is."""
    pipe = Pipe(agent, "--json")
    pipe.say(HEADER)
    pipe.rows(1)
    pipe.until(1)
    pipe.rows(300)
    pipe.process.send_signal(signal.SIGTERM)
    said = pipe.end(Exit.INTERRUPTED)
    assert f'"stored": {stored(agent)},' in said
    assert f'"row": {stored(agent) + 1}, "interrupted": true' in said


@pytest.mark.parametrize("gap_s", [0.0, 0.3])
def test_rows_that_wait_are_stored_though_the_service_ends_at_the_same_time(
    agent: Agent, gap_s: float
) -> None:
    """As at a shutdown, where systemd ends all at once."""
    agent.start()
    pipe = Pipe(agent)
    pipe.say(HEADER)
    pipe.rows(1)
    pipe.until(1)  # by the service
    for _ in range(8):  # a flow, which waits
        pipe.rows(10)
        time.sleep(0.2)  # as a sensor, which has a clock of its own
    assert agent.process is not None
    agent.process.send_signal(signal.SIGTERM)
    time.sleep(gap_s)  # a service that is going, or gone
    pipe.process.send_signal(signal.SIGTERM)
    said = pipe.end(Exit.INTERRUPTED)
    agent.stop()
    assert "not stored" not in said
    count = stored(agent)
    assert f"stored {count} rows, refused 0; interrupted after row {count + 1}" in said


def test_a_signal_that_was_ignored_stays_so(agent: Agent) -> None:
    words = " ".join(map(shlex.quote, agent.command("ingest", "wrist")))
    script = f"trap '' HUP; (printf '{HEADER}a,b,1,2\\n'; sleep 2; printf 'a,b,1,2\\n') | {words} &"
    process = subprocess.Popen(
        ["bash", "-c", f"{script} while ! kill -HUP $!; do :; done; kill -HUP $!; wait $!"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert "stored 2 rows" in out


# --- restarts -----


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_of_the_service_ends_no_pipe(agent: Agent, ending: signal.Signals) -> None:
    agent.serve()
    pipe = Pipe(agent)
    pipe.say(HEADER)
    pipe.rows(100)
    pipe.until(100)
    agent.stop(ending)
    pipe.rows(100)
    pipe.until(200)  # under the lock
    agent.serve()
    pipe.rows(100)
    pipe.until(300)
    agent.stop(ending)
    agent.serve()
    pipe.rows(600)
    said = pipe.end(Exit.OK)
    assert "stored 900 rows, refused 0" in said
    values, holes = door(agent)
    assert values == list(range(900))
    assert 1 <= holes <= 3  # where it was taken over


def test_a_service_that_is_killed_again_and_again_stores_every_row_once(agent: Agent) -> None:
    """While a file is on its way, and a pipe: what had no answer is repeated."""
    lines = [f"a{n // 500},up,{n % 30000 / 100},1\n" for n in range(20_000)]
    file = agent.directory / "a.csv"
    file.write_text(HEADER + "".join(lines))
    agent.serve()
    pipe, batch = Pipe(agent), subprocess.Popen(
        agent.command("ingest", "wrist", str(file)), stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    pipe.say(HEADER)
    for _ in range(4):
        enough = stored(agent) + 2000
        pipe.rows(50)
        until(lambda: batch.poll() is not None or stored(agent) >= enough)  # noqa: B023 (called here)
        agent.kill()
        agent.serve()
    out, _ = batch.communicate()
    assert "stored 20000 rows, refused 0" in out
    assert "here already" not in out
    assert f"stored {pipe.said} rows, refused 0" in pipe.end(Exit.OK)
    assert door(agent)[0] == list(range(pipe.said))
    assert stored(agent) == 20_000 + pipe.said
    found = agent.json("recordings", "list")
    assert {r["holes"] for r in found if r["recording"] != "door"} == {0}


def test_a_pipe_without_a_service_lets_one_start(agent: Agent) -> None:
    pipe = Pipe(agent)
    pipe.say(HEADER)
    pipe.rows(10)
    pipe.until(10)
    agent.serve()
    pipe.rows(10)
    pipe.until(20)
    assert "(by the service)" in pipe.end(Exit.OK)


def test_a_service_that_has_the_lock_and_no_socket_yet_is_waited_for(agent: Agent) -> None:
    with lock.exclusive(agent.state, PROGRAM):
        pipe = Pipe(agent)
        pipe.say(HEADER)
        pipe.rows(10)
        until_it_listens(pipe)
    assert "stored 10 rows" in pipe.end(Exit.OK)


def until_it_listens(pipe: Pipe) -> None:
    """It has taken all that was said: by then its signals wake it."""
    assert pipe.process.stdin is not None
    left = array("i", [1])

    def all_is_taken() -> bool:
        assert pipe.process.poll() is None
        assert pipe.process.stdin is not None
        fcntl.ioctl(pipe.process.stdin, termios.FIONREAD, left)
        return not left[0]

    until(all_is_taken)


def test_a_lock_that_is_held_for_good_is_told(
    agent: Agent, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(feeding, "FIRST_S", 0.0)
    file = agent.directory / "a.csv"
    file.write_text(rows(1, 5))
    with lock.exclusive(agent.state, PROGRAM):
        code = cli.main(["ingest", "wrist", str(file), "--config", str(agent.config)])
    assert code == Exit.TRY_LATER
    assert "in use by another fedling-agent" in capsys.readouterr().err


def test_a_signal_ends_the_waiting_and_tells_what_is_not_stored(agent: Agent) -> None:
    with lock.exclusive(agent.state, PROGRAM):
        pipe = Pipe(agent)
        pipe.say(HEADER)
        pipe.rows(10)
        until_it_listens(pipe)
        pipe.process.send_signal(signal.SIGTERM)
        said = pipe.end(Exit.INTERRUPTED)
    assert "stored 0 rows, refused 0; interrupted after row 0" in said


# --- files, once and again -----


def test_a_file_again_says_so_and_stores_nothing_twice(either: Agent) -> None:
    file = either.directory / "day.csv"
    file.write_text(rows(2, 100))
    assert "stored 200 rows, refused 0 (" in either.run("ingest", "wrist", str(file)).stdout
    again = either.run("ingest", "wrist", str(file)).stdout
    assert "stored 0 rows, refused 0; 200 were here already" in again
    file.write_text(rows(2, 100) + "r1,label 1,1,2\n")  # it has grown
    assert either.json("ingest", "wrist", str(file))["stored"] == 1
    assert stored(either) == 201
    with file.open() as given:  # as standard input it is a file, too
        words = either.command("ingest", "wrist", "--json")
        done = subprocess.run(words, stdin=given, capture_output=True, text=True, check=True)
    assert '"seen": 201' in done.stdout


def test_a_file_with_other_rows_of_a_known_recording(either: Agent) -> None:
    file = either.directory / "day.csv"
    file.write_text(rows(1, 100))
    either.run("ingest", "wrist", str(file))
    file.write_text(rows(1, 50, seed=2))
    refused = either.run("ingest", "wrist", str(file), code=Exit.SOME_REFUSED)
    assert "is here already with 100 samples" in refused.stderr
    assert stored(either) == 100
    appended = either.run("ingest", "wrist", str(file), "--append")
    assert "stored 50 rows, refused 0; holes that no window spans: 1 seams" in appended.stdout
    assert "are not joined to its 100 samples" in appended.stderr
    assert stored(either) == 150
    replaced = either.run("ingest", "wrist", str(file), "--replace").stdout
    assert "stored 50 rows, refused 0; replaced 1 recordings" in replaced
    assert stored(either) == 50
    either.run("ingest", "wrist", str(file), "--replace", "--append", code=Exit.USAGE)


def test_a_pipe_replaces_nothing(agent: Agent) -> None:
    """It could not be read again from its begin if the service were restarted."""
    result = agent.run("ingest", "wrist", "--replace", text=rows(1, 5), code=Exit.FAILED)
    assert "standard input is no file" in result.stderr


@pytest.mark.parametrize("text", [HEADER, HEADER + "\n\n"])
def test_a_header_alone_is_told(either: Agent, text: str) -> None:
    said = either.run("ingest", "wrist", text=text).stdout
    assert "stored 0 rows, refused 0; no row has come (by" in said


def test_an_interrupted_file_is_completed_by_the_same_command(agent: Agent) -> None:
    file = agent.directory / "day.csv"
    file.write_text(rows(1, 60_000))
    words = agent.command("ingest", "wrist", str(file))
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    until(lambda: stored(agent))
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate()
    first = stored(agent)
    assert f"stored {first} rows, refused 0; interrupted after row {first + 1}" in out
    done = agent.json("ingest", "wrist", str(file))
    assert (done["stored"], done["seen"], done["holes"]) == (60_000 - first, first, {})


# --- what is told -----


def test_evicted_samples_are_told(tmp_path: Path) -> None:
    agent = Agent(tmp_path / "device", NOWHERE, settings="[store]\nbytes = 40_000")
    agent.run("init")
    text = HEADER + "".join(f"r{n // 1000},up,1,2\n" for n in range(20_000))
    said = agent.run("ingest", "wrist", text=text).stdout
    assert "older samples had to go" in said
    assert "recordings with them (r0, r1, r2, r3, r4, ...)" in said
    status = agent.run("status").stdout
    assert "older samples had to go, in all" in status
    assert "of 40 kB" in status


def test_one_recording_for_ever_is_never_refused(tmp_path: Path) -> None:
    agent = Agent(tmp_path / "device", NOWHERE, settings="[store]\nbytes = 40_000")
    agent.run("init")
    text = HEADER + "wrist,up,1,2\n" * 20_000
    done = agent.json("ingest", "wrist", text=text)
    assert (done["stored"], done["refused"]) == (20_000, 0)
    assert done["evicted_samples"] == 20_000 - stored(agent)
    assert stored(agent) * 4 > 30_000


def test_holes_are_told(agent: Agent) -> None:
    text = "recording,time,x,y\n" + "".join(
        f"r,{time},1,1\n" for time in (0, 0.02, 0.04, 90_000, 90_000.02, 90_000.01, 90_000.01)
    )
    result = agent.run("ingest", "wrist", text=text)
    assert "row 5: recording r: time jumps by 25 h, the usual step is 20 ms" in result.stderr
    words = "1 jumps in time, 1 steps back in time, 1 repeated times"
    assert f"holes that no window spans: {words}" in result.stdout


@pytest.mark.parametrize("text", ["", "\n\n", " \n"])
def test_an_empty_input_is_named(agent: Agent, text: str) -> None:
    result = agent.run("ingest", "wrist", text=text, code=Exit.FAILED)
    assert "standard input is empty: not even a header has come" in result.stderr
    file = agent.directory / "a.ndjson"
    file.write_text(text)
    assert f"{file} is empty" in agent.run("ingest", "wrist", str(file), code=Exit.FAILED).stderr


@pytest.mark.parametrize("verb", ["ingest wrist", "predict"])
def test_a_closed_standard_input_is_named(agent: Agent, verb: str) -> None:
    words = " ".join(map(shlex.quote, agent.command(*verb.split())))
    done = subprocess.run(["sh", "-c", f"{words} <&-"], capture_output=True, text=True)
    assert done.returncode in (Exit.FAILED, Exit.NOT_FOUND)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["a.JSONL", "a.json", "a.NdJson"])
def test_ndjson_by_the_files_ending(agent: Agent, name: str) -> None:
    file = agent.directory / name
    file.write_text('{"recording":"r","x":1,"y":2}\n')
    assert agent.json("ingest", "wrist", str(file))["stored"] == 1


@contextmanager
def ascii_only() -> Iterator[dict[str, str]]:
    yield os.environ | {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}


@pytest.mark.parametrize(
    "words", [("status",), ("recordings", "list"), ("check",), ("ingest", "wrist", "a.csv")]
)
def test_an_alphabet_of_few_letters_is_no_reason_to_fail(
    agent: Agent, words: tuple[str, ...]
) -> None:
    file = agent.directory / "a.csv"
    file.write_text("recording,label,x,y\nbüro,café \U0001f600,1,2\nbüro,é,nan,2\n")
    agent.run("ingest", "wrist", str(file), code=Exit.SOME_REFUSED)
    file.write_text("recording,label,x,y\nbüro,ö,1,2\n")
    with ascii_only() as environment:
        done = subprocess.run(
            agent.command(*words), cwd=agent.directory, env=environment, capture_output=True
        )
    assert b"Traceback" not in done.stderr
    assert done.returncode in (Exit.OK, Exit.FAILED, Exit.SOME_REFUSED)


def test_a_row_that_no_request_may_carry_is_refused_alone(either: Agent) -> None:
    line = "x" * 200_000
    text = HEADER + f"r,up,1,2\n{line}\nr,up,1,2\n" + "r,up,\\ud800,2\n"
    done = either.json("ingest", "wrist", text=text, code=Exit.SOME_REFUSED)
    assert (done["stored"], done["refused"]) == (2, 2)


def test_threads_are_not_needed(agent: Agent) -> None:
    before = threading.active_count()
    file = agent.directory / "a.csv"
    file.write_text(rows(1, 5))
    handlers = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert cli.main(["ingest", "wrist", str(file), "--config", str(agent.config)]) == Exit.OK
    assert threading.active_count() == before
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == handlers


def test_a_row_that_is_no_row_may_have_been_of_any_recording(agent: Agent) -> None:
    """A file's name is the recording of rows that name none, and nobody knows whether it did."""
    lines = [f'{{"recording": "door", "x": {n / 100}, "y": 0}}' for n in range(4)]
    file = agent.directory / "day.ndjson"
    file.write_text("\n".join([*lines[:2], '{"recording": "do', *lines[2:]]))
    said = agent.run("ingest", "wrist", str(file), code=Exit.SOME_REFUSED)
    assert "holes that no window spans: 1 refused rows" in said.stdout
    assert door(agent) == ([0, 1, 2, 3], 1)
