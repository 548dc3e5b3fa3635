"""Where a command works: the configuration and the state directory that its options name."""

import argparse
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from fedling_agent import config as configuration
from fedling_agent.conditions.condition import Roots
from fedling_agent.config import AgentConfig
from fedling_agent.data.streams import Stream
from fedling_agent.service.control import Client, Forbidden, Unavailable
from fedling_protocol.net import names
from fedling_protocol.net.way import Way
from fedling_protocol.settings import SettingsError

LOOK_UP_S = 5.0  # a command waits no longer for a name server


@dataclass(frozen=True, slots=True)
class Installation:
    """What a command works on. config: None if there is no file and none was asked for."""

    file: Path
    config: AgentConfig | None
    state: Path

    def needed_config(self) -> AgentConfig:
        """The configuration, for who cannot do without. Raises SettingsError if there is none."""
        if self.config is None:
            raise SettingsError(
                f"{self.file}: there is no such file; it needs fleet, root_key and mqtt.host, "
                "or name another with --config"
            )
        return self.config

    def streams(self) -> dict[str, Stream]:
        """The streams that agent.toml names. Raises SettingsError."""
        return configuration.load_streams(self.needed_config())

    def roots(self) -> Roots:
        """All that sensors may ask; the MQTT broker's name is looked up, if that is soon done."""
        if self.config is None:
            return Roots()
        way = Way(self.config.mqtt.host, self.config.mqtt.port)
        with suppress(OSError):  # the way remembers why
            names.find(way, LOOK_UP_S)
        return replace(self.config.roots, way=way)

    def service(self) -> Client | None:
        """The running service, if there is one. Raises Forbidden if it is another user's."""
        try:
            return Client(self.state)
        except Forbidden:
            raise
        except Unavailable:
            return None


def find(args: argparse.Namespace) -> Installation:
    """Follow --config and --state to what they name. Raises SettingsError."""
    file: Path = args.config or configuration.DEFAULT_FILE
    config = configuration.load(file) if args.config or file.exists() else None
    return Installation(file, config, configuration.state_directory(args.state, config))
