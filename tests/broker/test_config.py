from pathlib import Path

import pytest

from fedling_broker import config
from fedling_broker.config import KeepUpdates
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import PlanKind

KEY = "ab" * 32
HEAD = f'fleet = "home"\nroot_key = "{KEY}"\nstate_dir = "state"\n'
SMALL = HEAD + '[mqtt]\nhost = "h"\nallow_plaintext = true\n'


def load(directory: Path, text: str) -> config.Config:
    path = directory / "broker.toml"
    path.write_text(text)
    return config.load(path)


def test_load_fills_in_defaults(tmp_path: Path) -> None:
    found = load(tmp_path, SMALL)
    assert found.state_dir == tmp_path / "state"
    assert found.root_key == bytes.fromhex(KEY)
    assert found.file.keep_updates is KeepUpdates.FOLD
    assert (found.file.mqtt.host, found.file.mqtt.tcp_port) == ("h", 1883)
    assert found.file.mqtt.silence_s == 300
    assert found.topics.of(Kind.PLAN, "watch", PlanKind.TRAIN) == "fedling/1/home/watch/plan/train"


def test_load_of_what_init_writes(tmp_path: Path) -> None:
    text = config.TEMPLATE.format(
        fleet='"home"',
        root_key=KEY,
        state_dir='"/var/lib/x"',
        topic_root='"a/b"',
        host='"h"',
        port=1,
        security="tls = true",
        more="",
    )
    found = load(tmp_path, text)
    assert found.state_dir == Path("/var/lib/x")
    assert found.topics.root == "a/b"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SMALL.replace("home", "Home!"), ["fleet", '"Home!"', "a-z"]),
        (SMALL.replace(KEY, "abc"), ["root_key", "64 digits"]),
        (SMALL.replace(KEY, "zz" * 32), ["root_key", "64 digits"]),
        (SMALL.replace("state_dir", "statedir"), ["statedir", "did you mean state_dir"]),
        ('keep_updates = "some"\n' + SMALL, ["keep_updates", '"fold", "audit"']),
        (HEAD, ["mqtt.host is missing", "name or address"]),
        (SMALL + 'topic_root = "a//b"', ["mqtt.topic_root", "words"]),
        (SMALL + "port = 0", ["mqtt.port = 0", "1 to 65535"]),
        (
            SMALL + 'port = 8884\n[mosquitto]\nfiles = "m"',
            ["enrolment.port = 8884", "another one than that of enrolled devices"],
        ),
        (
            SMALL + 'websocket_path = "/mqtt"\n[mosquitto]\nfiles = "m"',
            ["mosquitto.files is of no use with mqtt.websocket_path", "over TLS only"],
        ),
        (SMALL + "[retry]\nfirst_s = 50\nlongest_s = 10", ["longest_s = 10", "at least"]),
        (
            "root_topic = 'x'\n" + SMALL + "[retry]\nfirst_ms = 50\n",
            [
                "root_topic: is now called mqtt.topic_root",
                "retry.first_ms: is now called retry.first_s, in seconds",
            ],
        ),
        ("", ["fleet is missing"]),
    ],
)
def test_load_names_file_key_value_and_what_is_allowed(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    with pytest.raises(SettingsError) as error:
        load(tmp_path, text)
    assert str(error.value).startswith(str(tmp_path / "broker.toml"))
    assert [word for word in words if word not in str(error.value)] == [], error.value


def test_find_prefers_what_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "PLACES", (tmp_path / "a.toml", tmp_path / "b.toml"))
    assert config.find(Path("x.toml")) == Path("x.toml")
    with pytest.raises(SettingsError, match="fedling-broker up") as refused:
        config.find(None)
    assert f"neither {tmp_path}/a.toml nor {tmp_path}/b.toml" in str(refused.value)
    with pytest.raises(SettingsError, match=r"no such file; .*: fedling-broker up"):
        config.load(tmp_path / "x.toml")
    (tmp_path / "b.toml").write_text("")
    assert config.find(None) == tmp_path / "b.toml"
