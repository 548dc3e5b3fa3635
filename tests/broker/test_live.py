"""`fedling-broker device list --live` at a real mosquitto."""

from pathlib import Path

from fedling_broker.mosquitto.process import Mosquitto
from fedling_protocol.exits import Exit
from fedling_protocol.wire.identity import SigningKey, device_id
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import State, StateCode, StateReason
from tests.broker.conftest import Here
from tests.support.access import access_settings
from tests.support.aggregator import TOPICS, FakeAggregator

KEYS = [SigningKey(bytes([number]) * 32) for number in range(1, 6)]
TRAINS, LEFT, SILENT, PAUSED, STRANGER = KEYS
IDS = [device_id(key.public) for key in KEYS]


def say(mosquitto: Mosquitto, owner: SigningKey, state: State, key: SigningKey) -> None:
    """Retain a state on a device's topic, signed by whomever."""
    speaker = FakeAggregator(mosquitto.port)
    topic = TOPICS.of(Kind.STATE, device_id(owner.public))
    speaker.say(topic, state, key=key, retain=True)
    speaker.close()


def test_each_device_is_shown_as_it_says_it_is(here: Here, mosquitto: Mosquitto) -> None:
    here.point(mosquitto.port)
    for key in (TRAINS, LEFT, SILENT, PAUSED):
        here("device", "add", device_id(key.public), key.public.hex())
    say(mosquitto, TRAINS, State(StateCode.TRAINING, 7), TRAINS)
    say(mosquitto, LEFT, State(StateCode.OFFLINE, 0), LEFT)
    say(mosquitto, SILENT, State(StateCode.IDLE, 9), TRAINS)  # by somebody else
    say(mosquitto, PAUSED, State(StateCode.IDLE, 9, StateReason.PAUSED), PAUSED)
    say(mosquitto, STRANGER, State(StateCode.IDLE, 9), STRANGER)
    rows = {
        row["device"]: (row["now"], row["why_not"], row["model"])
        for row in here.json("device", "list", "--live")
    }
    assert rows == {
        IDS[0]: ("training", "", 7), IDS[1]: ("offline", "", None),
        IDS[2]: ("never heard", "", None), IDS[3]: ("idle", "paused", 9),
    }  # fmt: skip
    assert "now" not in here.json("device", "list")[0]
    assert "training" in here("device", "list", "--live")


def test_broker_that_is_away_or_refuses_is_named(here: Here, tmp_path: Path) -> None:
    settings = access_settings(tmp_path, ["topic write #"])
    with Mosquitto(tmp_path / "mosquitto", settings=settings) as broker:
        here.point(broker.port)
        here("device", "add", IDS[0], TRAINS.public.hex())
        assert "lets nobody read that; see: fedling-broker check" in here(
            "device", "list", "--live"
        )
    said = here("device", "list", "--live", code=Exit.UNAVAILABLE)
    assert "the MQTT broker does not tell: 127.0.0.1:" in said
    assert IDS[0] in here("device", "list")
