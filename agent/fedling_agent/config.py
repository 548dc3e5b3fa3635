"""agent.toml: everything that a device's owner may decide."""

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from fedling_agent.conditions.condition import Roots
from fedling_agent.conditions.policy import Policy
from fedling_agent.data.streams import Stream, load_stream
from fedling_agent.store.recordings import Bounds
from fedling_protocol import settings
from fedling_protocol.settings import SettingsError, setting
from fedling_protocol.wire.limits import MAX_U32
from fedling_protocol.wire.names import is_name
from fedling_protocol.wire.topics import Topics, is_task

DEFAULT_FILE = Path("/etc/fedling/agent.toml")
SYSTEM_STATE = Path("/var/lib/fedling-agent")  # StateDirectory= of the systemd unit


def _fleet(value: str) -> str | None:
    return None if is_name(value) else "a name, [a-z0-9][a-z0-9-]{0,31}"


def _task(value: str) -> str | None:
    return None if is_task(value) else "names of tasks, [a-z0-9][a-z0-9-]{0,31}"


def _key(value: str) -> str | None:
    hexadecimal = re.fullmatch(r"[0-9a-f]{64}", value)
    return None if hexadecimal else "64 digits of [0-9a-f], as `fedling-broker init` prints it"


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """The MQTT broker."""

    host: str = setting(help="name or address of the MQTT broker", low=1)
    port: int = setting(1883, help="TCP port", low=1, high=65535)
    root: str = setting("fedling", help="first words of every topic")
    keepalive_s: int = setting(
        300, help="silence after which a sign of life is sent", unit="s", low=1, high=65535
    )


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """What is kept of the examples."""

    bytes: int = setting(64 * 2**20, help="samples of all streams", unit="bytes", low=4096)
    age_days: float = setting(0.0, help="older samples go; 0 keeps them", unit="days", low=0)


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """How hard this device may work."""

    duty: float = setting(0.5, help="share of one core while training", low=0.001, high=1)
    checkpoint_s: float = setting(
        300.0, help="the longest work that a power cut undoes", unit="s", low=1, high=86_400
    )


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """How long to wait for an answer, and before the next try (exponential, with full jitter)."""

    connect_s: float = setting(1.0, help="first delay before connecting again", unit="s", low=0.01)
    connect_longest_s: float = setting(300.0, help="its longest delay", unit="s", low=0.01)
    answer_s: float = setting(
        30.0, help="first wait for an answer to a join", unit="s", low=0.05, high=MAX_U32 / 1000
    )
    answer_longest_s: float = setting(
        3600.0, help="its longest wait", unit="s", low=0.05, high=MAX_U32 / 1000
    )
    transfer_s: float = setting(
        900.0, help="a model or update is given up after", unit="s", low=1, high=MAX_U32 / 1000
    )


@dataclass(frozen=True, slots=True)
class PathSettings:
    """Where things are."""

    state: Path | None = setting(None, help="everything that the device keeps")
    sys: Path = setting(Path("/sys"), help="root of sysfs: battery, mains, heat")
    proc: Path = setting(Path("/proc"), help="root of procfs: network")


@dataclass(frozen=True, slots=True)
class AgentConfig:
    """The whole file."""

    fleet: str = setting(help="the fleet that this device belongs to", check=_fleet)
    root_key: str = setting(help="public root key of the fleet", check=_key)
    broker: BrokerSettings = setting(help="where the MQTT broker is")
    tasks: tuple[str, ...] = setting((), help="tasks to take part in; none: all", check=_task)
    streams: tuple[Path, ...] = setting((), help="files that define a stream each")
    store: StoreSettings = field(default_factory=StoreSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    policy: Policy = field(default_factory=Policy)
    retry: RetrySettings = field(default_factory=RetrySettings)
    paths: PathSettings = field(default_factory=PathSettings)

    def __post_init__(self) -> None:
        Topics(self.broker.root, self.fleet)  # its ValueError says what is wrong

    @property
    def topics(self) -> Topics:
        return Topics(self.broker.root, self.fleet)

    @property
    def root_public(self) -> bytes:
        """The 32 bytes of the root key."""
        return bytes.fromhex(self.root_key)

    @property
    def bounds(self) -> Bounds:
        return Bounds(self.store.bytes, self.store.age_days)

    @property
    def roots(self) -> Roots:
        return Roots(self.paths.sys, self.paths.proc)


def load(path: Path) -> AgentConfig:
    """Read agent.toml. Paths in it are relative to its own folder. Raises SettingsError."""
    config = settings.load(path, AgentConfig)
    here = path.absolute().parent
    paths = config.paths
    return replace(
        config,
        streams=tuple(here / stream for stream in config.streams),
        paths=PathSettings(
            state=None if paths.state is None else here / paths.state,
            sys=here / paths.sys,
            proc=here / paths.proc,
        ),
    )


def load_streams(config: AgentConfig) -> dict[str, Stream]:
    """The streams by name. Raises SettingsError."""
    streams: dict[str, Stream] = {}
    for path in config.streams:
        stream = load_stream(path)
        if stream.name in streams:
            raise SettingsError(f'{path}: name = "{stream.name}": another file has this name')
        streams[stream.name] = stream
    return streams


def state_directory(given: Path | None, config: AgentConfig | None) -> Path:
    """--state, else agent.toml, else the service's own, else the user's."""
    if given is not None:
        return given.absolute()
    if config is not None and config.paths.state is not None:
        return config.paths.state
    service = os.environ.get("STATE_DIRECTORY", "").split(":")[0]  # systemd.exec(5)
    if service:
        return Path(service)
    if SYSTEM_STATE.is_symlink() or SYSTEM_STATE.exists():  # a DynamicUser's is a link
        return SYSTEM_STATE
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local/state")
    return Path(home) / "fedling"
