"""`task list` says which tasks wait for the MQTT broker."""

import time
from pathlib import Path

from fedling_broker.service import notices
from fedling_broker.service.notices import Notice
from tests.broker.conftest import Here


def test_model_that_the_mqtt_broker_does_not_take(here: Here) -> None:
    here.add_task()
    says = "its model of 2,054,254 bytes cost the connection"
    notices.write(Path("broker-state"), {"tiny": Notice(says, time.time() + 100)})
    (row,) = here.json("task", "list")
    assert row["hindrance"].startswith(f"tiny {says}; next try at ")
    said = here("task", "list")
    assert says in said
    assert "enrol" not in said  # that would not help
