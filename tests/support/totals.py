"""The totals that the store keeps of its recordings, beside what its rows say."""

from fedling_agent.store import costs
from fedling_agent.store.recordings import Recordings


def check_totals(recordings: Recordings, most: int) -> None:
    """Each total beside what the rows say."""
    database = recordings._database
    total = recordings.summary().get("wrist", (0, 0, 0))
    ((count, samples),) = database.rows(
        "SELECT count(*), coalesce(sum(samples - first), 0) FROM recordings"
    )
    ((data, chunks),) = database.rows("SELECT coalesce(sum(length(data)), 0), count(*) FROM chunks")
    ((ids,),) = database.rows("SELECT coalesce(sum(length(id)), 0) FROM recordings")
    parts = database.rows("SELECT recording, first, last FROM stretches")
    labelled = database.rows("SELECT recording, first, last, label FROM spans")
    size = data + chunks * costs.CHUNK + count * costs.RECORDING + ids
    size += len(parts) * costs.STRETCH + sum(costs.SPAN + len(label) for *_, label in labelled)
    assert total[:3] == (count, samples, size)
    assert size <= most + costs.RECORDING + 64
    assert data == samples * 2 * costs.SAMPLE
    assert sum(last - first + 1 for _, first, last in parts) == samples
    assert all(
        any(key == part[0] and part[1] <= first and last <= part[2] for part in parts)
        for key, first, last, _ in labelled
    )
    labels: dict[str, int] = {}
    for _, first, last, label in labelled:
        labels[label] = labels.get(label, 0) + last - first + 1
    assert recordings.labels("wrist", 99) == labels
