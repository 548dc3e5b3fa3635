"""The bench's stores are such as the agent itself makes and reads."""

from pathlib import Path

import pytest

from bench.agent_stall import STREAM, Shape, fill
from fedling_agent.data.streams import Row
from fedling_agent.store.store import Store

SAMPLES = 3_200


@pytest.mark.parametrize(
    ("shape", "recordings"),
    [
        (Shape("one recording", SAMPLES, SAMPLES), 1),
        (Shape("short recordings", 160, 160), 20),
        (Shape("many labels", SAMPLES, 200), 1),
    ],
)
def test_store_is_read_and_goes_on(shape: Shape, recordings: int, tmp_path: Path) -> None:
    store = Store(tmp_path)
    fill(store, shape, SAMPLES)
    store.close()
    store = Store(tmp_path)
    stored = store.recordings.summary()["wrist"]
    assert (stored.recordings, stored.samples) == (recordings + 1, SAMPLES + 1)
    found = store.recordings.by_id("wrist", "r0")
    assert found is not None
    assert found.samples == shape.length
    store.recordings.ingest(STREAM, [Row(1, "r0", "up", None, (7,))], 2)
    assert store.recordings.summary()["wrist"].samples == SAMPLES + 2
    store.close()
