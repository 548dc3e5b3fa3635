"""Where a command works: the configuration and the state directory that its options name."""

import argparse
import os
import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fedling_agent import config as configuration
from fedling_agent.conditions.condition import Roots
from fedling_agent.config import DEFAULT_FILE, UNIT, AgentConfig
from fedling_agent.data.streams import Stream
from fedling_agent.service.control import Client, Forbidden, Unavailable
from fedling_protocol.classes import dataclass
from fedling_protocol.command import systemd
from fedling_protocol.disk import ownership
from fedling_protocol.net import names
from fedling_protocol.net.way import Way
from fedling_protocol.settings import SettingsError

SERVICE = "fedling-agent.service"
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
            raise SettingsError(f"{self.file}: there is no such file; {configuration.MAKE}")
        return self.config

    def streams(self) -> dict[str, Stream]:
        """The streams that agent.toml names. Raises SettingsError."""
        return configuration.load_streams(self.needed_config())

    def roots(self) -> Roots:
        """All that sensors may ask; the MQTT broker's name is looked up, if that is soon done."""
        if self.config is None:
            return Roots()
        way = Way(self.config.mqtt.host, self.config.mqtt.tcp_port)
        with suppress(OSError):  # the way remembers why
            names.find(way, LOOK_UP_S)
        return replace(self.config.roots, way=way)

    def service(self) -> Client | None:
        """The running service, if there is one; without one it is for this command to do the work.

        Raises Forbidden if it does not talk to this user, NotOurs if its state is another user's.
        """
        try:
            return Client(self.state)
        except Forbidden:
            raise
        except Unavailable:
            ownership.check_ours(self.state)
            return None

    def kept(self) -> Path:
        """The state directory, for who opens what is in it. Raises NotOurs."""
        ownership.check_ours(self.state)
        return self.state


def find(args: argparse.Namespace, first: Callable[[], object] = ownership.nothing) -> Installation:
    """Follow --config and --state to what they name; root is who owns the state from here on.

    So a file that root alone can read is opened before; first: what else root does before, if it
    becomes another. Raises SettingsError, NotOurs.
    """
    file = named_file(args)
    wanted = bool(args.config) or os.path.lexists(file)
    config = configuration.load(file) if wanted else None
    state = configuration.state_directory(args.state, config)
    if ownership.become(state, UNIT, *([file] if wanted else []), first=first) and wanted:
        config = as_the_service_reads(file)
    return Installation(file, config, state)


def named_file(args: argparse.Namespace) -> Path:
    """Name the configuration file, whether it is there or not."""
    given: Path | None = args.config
    return given or configuration.default_file()


def is_units(file: Path, state: Path) -> bool:
    """Whether root works on the device that the unit runs, and systemd is there to run it."""
    usual = (file, state) == (DEFAULT_FILE, UNIT.state)
    return os.geteuid() == 0 and usual and systemd.booted()


def as_the_service_reads(file: Path) -> AgentConfig:
    """Read the configuration as who we are now. Raises SettingsError."""
    try:
        return configuration.load(file)
    except SettingsError as error:
        if os.access(file, os.R_OK, effective_ids=True):
            raise
        user = ownership.user_name(os.geteuid())
        raise SettingsError(
            f"{file}: user {user}, who keeps the state, cannot read it; run: "
            f"chmod 644 {shlex.quote(str(file))}"
        ) from error
