"""`fedling-agent ingest` of files that numpy has written."""

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

from fedling_agent.commands.watching import OPEN_S, QUIET_S, Folder
from fedling_agent.store.store import Store
from fedling_protocol.exits import Exit
from tests.agent.commands.test_files import Watch, samples, stored
from tests.support.agent import Agent
from tests.support.waiting import until


def save(agent: Agent, name: str, **arrays: Any) -> str:
    path = agent.directory / name
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, **arrays)
    return str(path)


def kept(agent: Agent, name: str) -> np.ndarray[Any, Any]:
    """The counts of a recording."""
    store = Store(agent.state, read_only=True)
    recording = store.recordings.by_id("wrist", name)
    assert recording is not None
    data = store.recordings.samples(recording, 0, recording.samples)
    store.close()
    return np.frombuffer(data, np.int16).reshape(-1, 2)


def test_the_store_holds_what_numpy_wrote(agent: Agent) -> None:
    counts = np.random.default_rng(7).integers(-32768, 32768, (20_000, 2), np.int16)
    file = save(agent, "walk-3.npz", x=counts / 100)
    said = agent.run("ingest", "wrist", file, "--label-from-name")
    assert said.stdout.startswith("stored 20000 rows, refused 0 (")
    assert np.array_equal(kept(agent, "walk-3"), counts)
    assert stored(agent) == {"walk-3": {"walk": 20_000}}
    again = agent.json("ingest", "wrist", file, "--label-from-name")
    assert (again["file"], again["stored"], again["seen"]) == (file, 0, 20_000)


def test_recordings_and_their_labels(agent: Agent) -> None:
    x = np.arange(24).reshape(3, 4, 2)
    file = save(agent, "set.npz", x=x, y=np.array([1, 0, 1]), classes=np.array(["no", "up"]))
    agent.run("ingest", "wrist", file)
    assert stored(agent) == {"set-0": {"up": 4}, "set-1": {"no": 4}, "set-2": {"up": 4}}
    assert kept(agent, "set-1").tolist() == (100 * x[1]).tolist()
    agent.run("ingest", "wrist", file, "--recording", "b", "--append")
    assert samples(agent).keys() == {"set-0", "set-1", "set-2", "b-0", "b-1", "b-2"}
    said = agent.run("ingest", "wrist", file, "--label", "up", code=Exit.FAILED)
    assert "--label is given, and there is a column label" in said.stderr


def test_a_value_that_is_none_is_told_by_its_place(agent: Agent) -> None:
    file = save(agent, "a.npz", x=np.array([[[1, 2], [3, 4]], [[5, np.nan], [7, 1e9]]]))
    said = agent.run("ingest", "wrist", file, code=Exit.SOME_REFUSED)
    assert "x[1, 0]: y = nan is not a number" in said.stderr
    assert "x[1, 1]: y = 1000000000.0 is out of range" in said.stderr
    assert samples(agent) == {"a-0": 2}


def test_a_list_of_errors_of_several_files_names_file_and_place(agent: Agent) -> None:
    files = [save(agent, "a.npz", x=np.array([[1, np.inf]])), save(agent, "b.npz", z=np.ones(3))]
    np.save(agent.directory / "c.npy", np.ones((3, 2), ">f2"))
    files.append(str(agent.directory / "c.npy"))
    said = agent.run("ingest", "wrist", *files, code=Exit.FAILED)
    assert f"{files[0]}: x[0]: y = inf is not a number" in said.stderr
    assert f"{files[1]}: array z: shape (3,): allowed: numbers, (samples, 2)" in said.stderr
    assert samples(agent) == {"c": 3}


def test_who_reads_text_says_what_it_is(agent: Agent) -> None:
    file = save(agent, "a.npz", x=np.ones((3, 2)))
    said = agent.run("ingest", "wrist", file, "--format", "csv", code=Exit.FAILED)
    assert "a ZIP archive: save a table of an office program as CSV" in said.stderr


def test_a_pipe_has_no_arrays(agent: Agent) -> None:
    os.mkfifo(agent.directory / "a.npz")
    words = agent.command("ingest", "wrist", str(agent.directory / "a.npz"))
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as process:
        (agent.directory / "a.npz").write_bytes(b"")
        assert process.stderr is not None
        assert "arrays are read from a file, and this is none" in process.stderr.read()


def test_a_service_that_is_killed_stores_every_sample_once(agent: Agent, tmp_path: Path) -> None:
    counts = np.arange(120_000, dtype=np.int16).reshape(-1, 2)
    file = save(agent, "long.npz", x=counts / 100)
    process = subprocess.Popen(agent.command("ingest", "wrist", file))
    until(lambda: samples(agent).get("long", 0) > 0)
    if agent.process is not None:
        agent.kill()
        agent.serve()
    assert process.wait() == Exit.OK
    assert np.array_equal(kept(agent, "long"), counts)


def test_a_folder_is_watched_for_arrays(agent: Agent) -> None:
    watch = Watch(agent, "--label-from-name")
    save(agent, "inbox/walk-1.npz", x=np.ones((5, 2)))
    until(lambda: stored(agent) == {"walk-1": {"walk": 5}})
    assert [one["stored"] for one in watch.end()] == [5]


def test_arrays_that_have_no_end_are_waited_for(tmp_path: Path) -> None:
    folder, file = Folder(tmp_path), tmp_path / "a.npz"
    np.savez(file, x=np.ones((5, 2)))
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    assert folder.due(0) == folder.due(30) == []
    file.write_bytes(whole)
    assert folder.due(40) == []
    assert folder.due(40 + QUIET_S) == [file]
    folder.brought(file)
    file.write_bytes(whole[:-1])
    assert folder.due(100) == []
    assert folder.due(100 + OPEN_S) == [file]  # so it stays
