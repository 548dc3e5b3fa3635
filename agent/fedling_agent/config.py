"""agent.toml: everything that a device's owner may decide."""

import os
from dataclasses import field, replace
from pathlib import Path

from fedling_agent.conditions.condition import Roots
from fedling_agent.conditions.policy import Policy
from fedling_agent.conditions.table import UNATTENDED
from fedling_agent.data.streams import Stream, load_stream
from fedling_agent.store.recordings import Bounds
from fedling_protocol import settings
from fedling_protocol.classes import dataclass
from fedling_protocol.common_settings import (
    MqttSettings,
    RetrySettings,
    check_fleet,
    check_order,
    check_root_key,
)
from fedling_protocol.disk.ownership import Unit
from fedling_protocol.settings import SettingsError, setting
from fedling_protocol.wire.limits import MAX_LABELS, MAX_U32
from fedling_protocol.wire.topics import Topics, is_task

DEFAULT_FILE = Path("/etc/fedling/agent.toml")
UNIT = Unit("fedling", Path("/var/lib/fedling-agent"))  # fedling-agent.service
MAKE = (
    "with a token `fedling-agent enroll` writes it; by hand it needs fleet, root_key and mqtt.host,"
    " or name another with --config"
)
RENAMED = {
    "broker.host": "mqtt.host",
    "broker.port": "mqtt.port",
    "broker.keepalive_s": "mqtt.keepalive_s",
    "broker.root": "mqtt.topic_root",
    "retry.connect_s": "retry.first_s",
    "retry.connect_longest_s": "retry.longest_s",
    "retry.answer_s": "retry.answer_first_s",
    "paths.state": "state_dir",
}


def _task(value: str) -> str | None:
    return None if is_task(value) else "names of tasks, [a-z0-9][a-z0-9-]{0,31}"


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """What is kept of the examples."""

    bytes: int = setting(
        64 * 2**20,
        help="the most bytes that recordings may take on disk; the oldest samples go first",
        unit="bytes",
        low=4096,
    )
    age_days: float = setting(
        0.0,
        help="recordings that did not grow for so long, while the device ran, are removed; 0 keeps"
        " them",
        unit="days",
        low=0,
    )


@dataclass(frozen=True, slots=True)
class FloorSettings:
    """[floor]: what the owner asks of every plan, whoever signed it."""

    labels: tuple[str, ...] = setting(
        (), help="tasks may learn these labels and no others; none named: any", high=MAX_LABELS
    )
    min_examples: int = setting(
        5,
        help="nothing is trained on fewer examples, since an update of a few may show them;"
        " a plan may ask for more",
        unit="examples",
        low=1,
        high=2**31,
    )
    tests: bool = setting(
        True,
        help="say how many windows of each label a model told right, of those that a task has this"
        " device keep out of training, if they are no fewer than min_examples; false: nothing is"
        " kept out",
    )


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How hard this device may work."""

    duty: float = setting(
        0.5, help="the share of one core that training may use", low=0.001, high=1
    )
    only_idle: bool = setting(
        True,
        help="train on what others leave of processors and disk: whoever else wants them goes"
        " first; false: share them as any program does, for a device whose own programs never rest",
    )
    personal: bool = setting(
        False,
        help="train the fleet's newest model further on this device's own examples, for this device"
        " alone; it answers where it does better on windows that it was not trained on",
    )
    checkpoint_s: float = setting(
        300.0,
        help="a checkpoint is written at most so often: a power cut undoes no longer work",
        unit="s",
        low=1,
        high=86_400,
    )


@dataclass(frozen=True, slots=True)
class AgentRetrySettings(RetrySettings):
    """[retry]: a device waits longer than an aggregator, since it is one of many."""

    longest_s: float = setting(
        300.0,
        help="the longest delay before the device connects again",
        unit="s",
        low=0.01,
        high=86_400,
    )
    answer_first_s: float = setting(
        30.0,
        help="how long the device first waits for an answer to a join",
        unit="s",
        low=0.05,
        high=MAX_U32 / 1000,
    )
    answer_longest_s: float = setting(
        3600.0,
        help="the longest that the device waits for an answer to a join",
        unit="s",
        low=0.05,
        high=MAX_U32 / 1000,
    )
    transfer_s: float = setting(
        900.0,
        help="a model or an update that takes longer is given up",
        unit="s",
        low=1,
        high=MAX_U32 / 1000,
    )

    def __post_init__(self) -> None:
        RetrySettings.__post_init__(self)  # super() does not find a class that has slots
        check_order(self, "answer_first_s", "answer_longest_s")


@dataclass(frozen=True, slots=True)
class PathSettings:
    """[paths]: where the system tells of power and heat."""

    sys: Path = setting(Path("/sys"), help="root of sysfs, which tells of battery, mains and heat")


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """All that agent.toml says."""

    fleet: str = setting(help="the fleet that this device belongs to", check=check_fleet)
    root_key: str = setting(help="the public half of the fleet's root key", check=check_root_key)
    mqtt: MqttSettings = setting(help="where the MQTT broker is")
    state_dir: Path | None = setting(None, help="the directory of everything that the device keeps")
    tasks: tuple[str, ...] = setting(
        (), help="the tasks that the device takes part in; none named: all", check=_task
    )
    streams: tuple[Path, ...] = setting((), help="the files that define a stream each")
    store: StoreSettings = field(default_factory=StoreSettings)
    floor: FloorSettings = field(default_factory=FloorSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    policy: Policy = field(default_factory=Policy)
    retry: AgentRetrySettings = field(default_factory=AgentRetrySettings)
    paths: PathSettings = field(default_factory=PathSettings)

    @property
    def topics(self) -> Topics:
        return Topics(self.mqtt.topic_root, self.fleet)

    @property
    def root_public(self) -> bytes:
        """The 32 bytes of the root key."""
        return bytes.fromhex(self.root_key)

    @property
    def bounds(self) -> Bounds:
        return Bounds(self.store.bytes, self.store.age_days)

    @property
    def roots(self) -> Roots:
        """What readers may ask, but for the way to the MQTT broker."""
        policy = self.policy
        return Roots(
            self.paths.sys,
            zones=policy.zones,
            supplies=policy.supplies,
            metered=policy.metered,
            hours=policy.hours,
            unattended=policy.own(UNATTENDED).value is True,
        )


def default_file() -> Path:
    """Find agent.toml where nobody names one: the machine's, or the user's where it has none."""
    if os.geteuid() == 0 or os.path.lexists(DEFAULT_FILE):
        return DEFAULT_FILE
    try:
        return _users("XDG_CONFIG_HOME", ".config") / "fedling" / DEFAULT_FILE.name
    except SettingsError:  # nobody's
        return DEFAULT_FILE


def load(path: Path) -> AgentConfig:
    """Read agent.toml. Paths in it are relative to its own folder. Raises SettingsError."""
    config = settings.load(path, AgentConfig, RENAMED, MAKE)
    here = path.absolute().parent
    return replace(
        config,
        state_dir=None if config.state_dir is None else here / config.state_dir,
        mqtt=config.mqtt.within(here),
        streams=tuple(here / stream for stream in config.streams),
        paths=PathSettings(here / config.paths.sys),
    )


def load_streams(config: AgentConfig) -> dict[str, Stream]:
    """Read the streams that agent.toml names, by name. Raises SettingsError."""
    streams: dict[str, Stream] = {}
    for path in config.streams:
        stream = load_stream(path)
        if stream.name in streams:
            raise SettingsError(f'{path}: name = "{stream.name}": another file has this name')
        streams[stream.name] = stream
    return streams


def state_directory(given: Path | None, config: AgentConfig | None) -> Path:
    """Find the state: --state, else agent.toml, else the service's own, else the user's.

    Root's is the service's own, also before it is there. Raises SettingsError if there is none.
    """
    if given is not None:
        return given.absolute()
    if config is not None and config.state_dir is not None:
        return config.state_dir
    service = os.environ.get("STATE_DIRECTORY", "").split(":")[0]  # systemd.exec(5)
    if service:
        return Path(service)
    if os.geteuid() == 0 or os.path.lexists(UNIT.state):
        return UNIT.state
    return _users("XDG_STATE_HOME", ".local/state") / "fedling"


def _users(variable: str, usual: str) -> Path:
    """A user's folder; a relative one is ignored (XDG Base Directory Specification)."""
    given = Path(os.environ.get(variable, ""))
    if given.is_absolute():
        return given
    try:
        return Path.home() / usual
    except RuntimeError as error:  # a user without an entry in passwd, and without HOME
        raise SettingsError(
            "this user has no home directory: name the state directory with --state or state_dir"
        ) from error
