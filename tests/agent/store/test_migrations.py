"""Tables of older versions go on with what is in them."""

import json
import sqlite3
from pathlib import Path

import pytest

from fedling_agent.store.database import SCHEMA
from fedling_agent.store.errors import Missing
from fedling_agent.store.store import NAME, Store
from fedling_protocol.wire import records
from fedling_protocol.wire.messages import Model, Rest
from tests.support.device import STREAM, hash_of, make_model, parse


def version_1(directory: Path, model: Model) -> None:
    """A store as the first version left it."""
    directory.mkdir()
    (directory / "models").mkdir()
    (directory / "models" / hash_of(model).hex()).write_bytes(model.weights)
    rest = Rest(model.version, hash_of(model), model.spec, len(model.weights), 0)
    connection = sqlite3.connect(directory / NAME)
    connection.executescript(SCHEMA)
    connection.execute(
        "INSERT INTO models (task, version, hash, about, exponents, size) "
        "VALUES ('watch', ?, ?, ?, ?, ?)",
        (
            model.version,
            hash_of(model),
            records.encode(rest),
            json.dumps(model.exponents),
            len(model.weights),
        ),
    )
    connection.execute("INSERT INTO streams VALUES (?, ?)", ("wrist", definition()))
    connection.execute("INSERT INTO recordings VALUES (7, 'wrist', 'old', 1, 2, 1, 4, 0)")
    connection.execute("INSERT INTO chunks VALUES (7, 0, ?)", (bytes(4),))
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()


def definition() -> str:
    return json.dumps([[c.name, c.unit, repr(c.resolution)] for c in STREAM.channels])


def test_models_of_version_1_are_still_there(tmp_path: Path) -> None:
    model = make_model(5)
    version_1(tmp_path / "state", model)
    with pytest.raises(Missing):
        Store(tmp_path / "state", read_only=True)
    store = Store(tmp_path / "state")
    newest = store.models.newest("watch")
    assert newest is not None
    assert newest == store.models.put(model)
    store.close()
    again = Store(tmp_path / "state", read_only=True)
    assert again.models.newest("watch") == newest


def test_recordings_of_version_1_go_on(tmp_path: Path) -> None:
    version_1(tmp_path / "state", make_model())
    recordings = Store(tmp_path / "state").recordings
    recordings.ingest(STREAM, parse(["recording,x,y\n", "new,1,1\n", "old,1,1\n"]), 5)
    found = [(r.id, r.samples) for r in recordings.newest("wrist")]
    assert found == [("new", 1), ("old", 2)]
    plan = recordings._database.rows(
        "EXPLAIN QUERY PLAN SELECT key FROM recordings WHERE stream = 'wrist' AND key < 9 "
        "ORDER BY key DESC LIMIT 2"
    )
    assert "recordings_of" in plan[0][3]
    assert len(plan) == 1  # no sorting
