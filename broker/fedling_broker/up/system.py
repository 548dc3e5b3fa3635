"""What `setup` writes for the mosquitto and the services that systemd runs, as text, with reasons.

mosquitto runs as a user of its own. It reads a directory that belongs to the aggregator and whose
files are its group's to read; the key of its certificate is its own. A path unit has it read them
again when one has changed.
"""

import re
from pathlib import Path

from fedling_broker.config import UNIT
from fedling_broker.mosquitto.configuration import Configuration, Tls
from fedling_broker.mosquitto.files import CHANGED
from fedling_protocol.classes import dataclass
from fedling_protocol.exits import Exit, Failure

MOSQUITTO, MOSQUITTO_USER = "mosquitto.service", "mosquitto"
AGGREGATOR_USER = "fedling-broker"
MARK = "# Written by fedling-broker"
MODE = 0o2750  # what is made in it belongs to its group
SERVICE, WATCH, RELOAD = (
    "fedling-broker.service",
    "fedling-mosquitto.path",
    "fedling-mosquitto.service",
)
SECURITY = re.compile(
    r"^\s*(listener|port|bind_address|allow_anonymous|password_file|acl_file|plugin|auth_plugin"
    r"|per_listener_settings|psk_file)\b",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are on a Debian; root: `/`, or another directory for a trial."""

    root: Path = Path("/")

    @property
    def mosquitto(self) -> Path:
        return self.root / "etc/mosquitto"

    @property
    def configuration(self) -> Path:
        return self.mosquitto / "conf.d/fedling.conf"

    @property
    def broker_toml(self) -> Path:
        return self.root / "etc/fedling/broker.toml"

    @property
    def files(self) -> Path:
        return self.root / "var/lib/fedling-mosquitto"

    @property
    def state(self) -> Path:
        return self.root / UNIT.state.relative_to("/")

    @property
    def real(self) -> bool:
        """Whether it is this system, and no trial in a directory."""
        return self.root == Path("/")

    @property
    def units(self) -> Path:
        return self.root / "etc/systemd/system"

    def texts(self, port: int, enrolment: int) -> dict[Path, str]:
        """Write every file that belongs to root, by its path."""
        files = str(Path("/") / self.files.relative_to(self.root))
        reload = _RELOAD.format(mark=MARK, files=files, changed=CHANGED, mosquitto=MOSQUITTO)
        watch = _WATCH.format(mark=MARK, files=files, changed=CHANGED, reload=RELOAD)
        drop_in = self.units / f"{SERVICE}.d" / "mosquitto.conf"
        return {
            self.configuration: Configuration(port, tls=Tls(files, enrolment), own=False).text(),
            drop_in: _DROP_IN.format(mark=MARK, files=files),
            self.units / WATCH: watch,
            self.units / RELOAD: reload,
        }

    def check_alone(self) -> None:
        """Raise Failure if this mosquitto serves others already: both would change each other."""
        own = self.configuration
        for file in (self.mosquitto / "mosquitto.conf", *sorted(own.parent.glob("*.conf"))):
            if file == own or not file.exists():
                continue
            found = SECURITY.search(file.read_text(errors="replace"))
            if found:
                raise Failure(
                    f"{file}: has {found[1]}: this mosquitto serves others already, and who is let"
                    " in there would change. Run one beside it (fedling-broker up), or have the"
                    " fleet use it as it is (docs/brokers.md)",
                    Exit.NOT_ALLOWED,
                )


_DROP_IN = """\
{mark}: the aggregator keeps what mosquitto reads.
[Service]
ReadWritePaths={files}
"""
_WATCH = """\
{mark}: mosquitto reads again what the aggregator has changed.
[Unit]
Description=fedling: what mosquitto reads has changed

[Path]
PathChanged={files}
# A mark, looked for again when mosquitto has read: what changed meanwhile is not missed.
PathExists={files}/{changed}
Unit={reload}

[Install]
WantedBy=multi-user.target
"""
_RELOAD = """\
{mark}
[Unit]
Description=fedling: mosquitto reads certificates, access list, passwords and revocation list again
# Before it has started, the signal would end it.
After={mosquitto}
# However many devices come at once.
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=rm -f {files}/{changed}
# Not its ExecReload, which is /bin/kill: a small system lacks that. One that was stopped stays so.
ExecStart=-systemctl kill --kill-who=main -s HUP {mosquitto}
# It forgets a signal that comes while it reads: what changes meanwhile waits for the next.
ExecStart=-sleep 1
"""
