"""What is made of an answer on disk: certificates, the pair of TLS, the text of agent.toml."""

from collections.abc import Mapping
from pathlib import Path

from fedling_agent import toml_text
from fedling_agent.config import AgentConfig
from fedling_agent.enrol.asking import Granted, issued_s
from fedling_agent.enrol.kept import Kept
from fedling_agent.store import tls_pair
from fedling_agent.store.files import PAIR_FILE
from fedling_agent.store.store import Store
from fedling_agent.toml_text import Value
from fedling_protocol import settings
from fedling_protocol.classes import dataclass
from fedling_protocol.settings import SettingsError
from fedling_protocol.wire.messages import Certificate
from fedling_protocol.wire.token import USUAL_ROOT, Token


@dataclass(frozen=True, slots=True)
class Own:
    """What of agent.toml is the owner's: its text, and whether the MQTT broker in it is theirs."""

    text: str
    broker: bool


def own_broker(config: AgentConfig | None) -> bool:
    """Whether the owner reaches the MQTT broker with a name of their own: then [mqtt] stays."""
    return config is not None and bool(config.mqtt.user)


def keep_certificates(store: Store, granted: Granted) -> None:
    """Keep who vouches for whom. Raises CannotWrite."""
    for message, envelope in granted.learned:
        signed_s = issued_s(message)
        if isinstance(message, Certificate):
            store.vouched.keep_certificate(message.id, message.serial, signed_s, envelope)
        else:
            store.vouched.keep_roots(len(message.links), signed_s, envelope)


def take_pair(directory: Path, kept: Kept) -> None:
    """Put the pair of TLS in place. Raises NotAPair, CannotWrite, IdentityError."""
    grant = kept.granted.grant
    if grant.tls_certificate is not None and grant.tls_ca is not None:
        tls_pair.check(grant.tls_certificate, grant.tls_ca, kept.tls_key)
        tls_pair.take(directory, grant.tls_certificate, grant.tls_ca)


def config_text(
    file: Path, own: Own | None, token: Token, granted: Granted, state: Path, state_dir: Path | None
) -> str:
    """Write agent.toml so that it says what was granted, and keeps what is the owner's.

    own: what there is; None: nothing. state: where the pair is. state_dir: for the key of this
    name, where it is not the usual one. Raises SettingsError: it cannot be written into that file.
    """
    top: dict[str, Value] = {"fleet": token.fleet, "root_key": granted.grant.root.hex()}
    tables: dict[str, Mapping[str, Value]] = {"": top}
    if state_dir is not None:
        top["state_dir"] = str(state_dir)
    if own is None:
        top["streams"] = ()
    if own is None or not own.broker:
        tables["mqtt"] = _mqtt(token, granted, state)
    if own is None:
        text = toml_text.new(tables)
    else:
        text = toml_text.changed(own.text, tables, {"mqtt": _REPLACED} if "mqtt" in tables else {})
    _check(text, file, tables)
    return text


_REPLACED = ("allow_plaintext", "password_file", "topic_root", "websocket_path")


def _mqtt(token: Token, granted: Granted, state: Path) -> dict[str, Value]:
    grant = granted.grant
    keys: dict[str, Value] = {"host": grant.host, "port": grant.port}
    if token.topic_root != USUAL_ROOT:
        keys["topic_root"] = token.topic_root
    if grant.tls_certificate is None:
        return keys
    return keys | {
        "tls": True,
        "server_name": f"{token.fleet}.fedling",
        "ca_file": str(state / tls_pair.CA_FILE),
        "certificate_file": str(state / PAIR_FILE),
        "key_file": str(state / PAIR_FILE),
    }


def _check(text: str, file: Path, tables: Mapping[str, Mapping[str, Value]]) -> None:
    """Whether the text reads as it was meant: an owner may write TOML in ways that we do not."""
    try:
        values = settings.tables(text, str(file))
        settings.parse(text, str(file), AgentConfig)
        wrong = [
            key
            for name, keys in tables.items()
            for key, value in keys.items()
            if (values[name] if name else values)[key] != toml_text.plain(value)
        ]
    except (SettingsError, KeyError, TypeError) as error:
        raise SettingsError(f"{_BY_HAND.format(file=file)} ({error})") from error
    if wrong:
        raise SettingsError(_BY_HAND.format(file=file))


_BY_HAND = (
    "{file}: the keys of enrolment cannot be put into this file: write fleet, root_key and [mqtt]"
    " as tables of their own, or move the file away and run the same command again"
)
