"""`fedling-agent enroll`: from a token to a device that works, and on from wherever it stopped.

Root works as who keeps the state, but for agent.toml, which is root's.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from fedling_agent import config as configuration
from fedling_agent.commands import installation, volatile
from fedling_agent.commands import run as running
from fedling_agent.commands.arriving import NotEnrolled, Talk
from fedling_agent.commands.installation import SERVICE
from fedling_agent.config import DEFAULT_FILE, UNIT, AgentConfig
from fedling_agent.enrol import kept as keeping
from fedling_agent.enrol import settling
from fedling_agent.enrol.kept import Kept
from fedling_agent.enrol.settling import Own
from fedling_agent.service import report
from fedling_agent.store import identity, tls_pair
from fedling_agent.store.database import PROGRAM
from fedling_agent.store.identity import Identity
from fedling_agent.store.store import Store
from fedling_protocol.classes import dataclass
from fedling_protocol.command import output, systemd
from fedling_protocol.disk import durable, lock, ownership
from fedling_protocol.disk.errors import BadInput, Missing, writing
from fedling_protocol.exits import Exit, Failure
from fedling_protocol.moments import day
from fedling_protocol.net.probe import Probe
from fedling_protocol.wire.kinds import Kind
from fedling_protocol.wire.messages import Certificate, EnrolReason
from fedling_protocol.wire.names import AGGREGATOR, LABELS, is_label
from fedling_protocol.wire.refused import Refused
from fedling_protocol.wire.token import Token, TokenError
from fedling_protocol.wire.trust import Trust

READABLE = 0o644  # agent.toml has no secrets, and root's is read by the service's user
LONGEST = 4096  # characters of a token


@dataclass(frozen=True, slots=True)
class _Place:
    """Where it all goes. own: what agent.toml is now; None: there is none"""

    file: Path
    config: AgentConfig | None
    own: Own | None
    state: Path
    named: bool  # the state directory was, on the command line

    @contextmanager
    def acting(self) -> Iterator[None]:
        """Be who keeps the state. Raises NotOurs."""
        with ownership.acting(self.state, UNIT, *([self.file] if self.own else [])):
            yield

    @property
    def is_units(self) -> bool:
        """Whether root makes the device that the unit runs, and systemd is there to run it."""
        return installation.is_units(self.file, self.state)

    @property
    def state_dir(self) -> Path | None:
        """What to write for the key of this name; None: who reads agent.toml finds it without."""
        if self.named:
            return self.state
        if self.config is not None:
            return None
        return None if (self.file, self.state) == (DEFAULT_FILE, UNIT.state) else self.state


def run(args: argparse.Namespace) -> Exit:
    """Enrol, say how that ended, and with --run be the device."""
    token, place = _token(args.token), _place(args)
    if args.name and not is_label(args.name):
        raise BadInput(f"--name {args.name}: allowed: {LABELS}")
    _check_fleet(place, token)
    if place.is_units and not systemd.has_user(UNIT.user):
        systemd.make_user(UNIT.user)
    with place.acting():
        me, own = _known(place)
    new = own is None or own.revoked or args.again or (place.state / keeping.FILE).exists()
    if new:
        with _resting(place):
            me, own = _enrol(place, token, args)
    assert me is not None
    assert own is not None
    service = not args.stay and _start(place, new)
    _tell(place, me, own, new, service, args)
    if not args.stay:
        return Exit.OK
    args.config = place.file
    return running.run(args)


# --- what there is -------------------------------------------------------------------------------


def _token(given: str) -> Token:
    """Read a token. Raises BadInput: it says why it is none, without its text."""
    text = _typed() if given == "-" else given
    try:
        return Token.parse(text)
    except TokenError as error:
        raise BadInput(str(error)) from None


def _typed() -> str:
    """What standard input says; a person at a terminal is asked for a line."""
    if not sys.stdin.isatty():
        return sys.stdin.read(LONGEST)
    print("token: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline(LONGEST)


def _place(args: argparse.Namespace) -> _Place:
    """Follow --config and --state. Raises SettingsError."""
    file: Path = (args.config or configuration.default_file()).absolute()
    config = configuration.load(file) if os.path.lexists(file) else None
    text = file.read_text(encoding="utf-8-sig") if config is not None else ""
    own = None if config is None else Own(text, settling.own_broker(config))
    state = configuration.state_directory(args.state, config)
    return _Place(file, config, own, state, args.state is not None)


def _check_fleet(place: _Place, token: Token) -> None:
    """Raise BadInput where this device is another fleet's: histories of two do not mix."""
    config = place.config
    if config is None:
        return
    if config.fleet != token.fleet:
        raise BadInput(
            f"{place.file}: this device is of fleet {config.fleet}, the token is for fleet"
            f" {token.fleet}: name another --config and another --state for that one"
        )
    if place.own is not None and place.own.broker and config.mqtt.topic_root != token.topic_root:
        raise BadInput(
            f'{place.file}: mqtt.topic_root = "{config.mqtt.topic_root}", the token says'
            f" {token.topic_root}: give the fleet and this device the same one"
        )


def _known(place: _Place) -> tuple[Identity | None, Certificate | None]:
    """Look who this device is, and what certificate it has."""
    me = identity.load(place.state)
    if me is None or place.config is None:
        return me, None
    try:
        with closing(Store(place.state, read_only=True)) as store:
            return me, report.certificate_of(store, me.device)
    except Missing:
        return me, None


# --- the way from a token to a device ------------------------------------------------------------


def _enrol(place: _Place, token: Token, args: argparse.Namespace) -> tuple[Identity, Certificate]:
    """Do what is left to be done; each step may be done again. Raises what a command may."""
    with place.acting(), lock.exclusive(place.state, PROGRAM):
        with closing(Store(place.state)) as store:
            me = _identity(place, store, args.again)
            kept = keeping.find(place.state, me.key.public, token)
            if kept is None:
                me, kept = _ask(place, token, me, store, args)
            settling.keep_certificates(store, kept.granted)
        if place.own is None or not place.own.broker:
            settling.take_pair(place.state, kept)
    text = settling.config_text(
        place.file, place.own, token, kept.granted, place.state, place.state_dir
    )
    with writing(str(place.file)):
        ownership.make_folder_for_services(place.file.parent)
        durable.write_file(place.file, text.encode(), READABLE, exact=True)  # for the service
    with place.acting(), lock.exclusive(place.state, PROGRAM):
        _try_out(place, me)
        keeping.done(place.state)
    return me, kept.granted.certificate


def _identity(place: _Place, store: Store, again: bool) -> Identity:
    """Make the device's key, unless it is there; another one, if that was revoked and is meant."""
    me = identity.ensure(place.state)
    own = report.certificate_of(store, me.device)
    return _new_identity(place, store) if again and own and own.revoked else me


def _new_identity(place: _Place, store: Store) -> Identity:
    """Be another device: updates that the old one has signed would be taken from nobody."""
    now_ms = int(time.time() * 1000)
    for entry in store.spool.entries():
        words = "the device was revoked"
        store.spool.end(entry.task, entry.plan_id, entry.update_hash, None, words, now_ms)
    return identity.begin_anew(place.state)


def _ask(
    place: _Place, token: Token, me: Identity, store: Store, args: argparse.Namespace
) -> tuple[Identity, Kept]:
    """Ask the fleet; a device that hears only now that it was revoked comes in as a new one."""
    try:
        return me, _talk(place, token, me, store, args.name)
    except NotEnrolled as error:
        if error.reason != EnrolReason.REVOKED or not args.again:
            raise
    me = _new_identity(place, store)
    return me, _talk(place, token, me, store, args.name)


def _talk(place: _Place, token: Token, me: Identity, store: Store, name: str) -> Kept:
    """Ask until there is an answer, and write it down."""
    tls_key = tls_pair.ask_key(place.state)
    own = place.config if place.own is not None and place.own.broker else None
    said = Talk(token, me, tls_key, name, store.ledger, own).run()
    keeping.keep(place.state, said.ask, said.answer)
    kept = keeping.find(place.state, me.key.public, token)
    assert kept is not None  # it was believed when it came
    return kept


def _try_out(place: _Place, me: Identity) -> None:
    """Connect as the device will, and hear a message that the fleet has signed. Raises Missing."""
    config = configuration.load(place.file)
    topics = config.topics
    wanted = topics.of(Kind.KEYS, AGGREGATOR)
    trust = Trust(topics, config.root_public)
    with closing(Store(place.state, read_only=True)) as store:
        chain = store.vouched.roots()
    if chain is not None:
        trust.open(topics.of(Kind.ROOTS), chain)
    with Probe(config.mqtt, me.device) as probe:
        probe.connect()
        probe.listen([wanted])
        probe.until(lambda: bool(probe.heard))
        if not probe.heard:
            raise Missing(
                f"{config.mqtt.address}: connected with the new certificate, but nothing of the"
                f" fleet came on {wanted}: {probe.lost or 'does `fedling-broker serve` run?'};"
                " then the same command goes on"
            )
    try:
        trust.open(*probe.heard[0])
    except Refused as refused:
        raise Missing(f"{wanted}: what came is not of this fleet: {refused}") from refused


@contextmanager
def _resting(place: _Place) -> Iterator[None]:
    """Have the unit rest: one process at a time works in a state. It goes on if nothing is new."""
    runs = place.is_units and systemd.is_active(SERVICE)
    if runs:
        systemd.call("systemctl", "stop", SERVICE)
    try:
        yield
    except BaseException:
        if runs:
            systemd.call("systemctl", "start", SERVICE)
        raise


# --- what is next --------------------------------------------------------------------------------


def _start(place: _Place, new: bool) -> bool:
    """Have the unit run with what it has now, from every boot on; whether it does."""
    if not place.is_units:
        return False
    if not new and systemd.runs(SERVICE):
        return True
    try:
        systemd.begin(SERVICE)
    except Failure as failure:
        print(output.paint(f"the service does not run: {failure}", output.YELLOW), file=sys.stderr)
        return False
    return True


def _tell(
    place: _Place,
    me: Identity,
    own: Certificate,
    new: bool,
    service: bool,
    args: argparse.Namespace,
) -> None:
    warning = volatile.warning(place.state)
    if args.json:
        facts = {"device": me.device, "new": new, "service": service, "warning": warning}
        files = {"config": str(place.file), "state": str(place.state)}
        output.print_json(facts | files | report.of_certificate(own))
        return
    name = f" as {own.name}" if own.name else ""
    until = day(own.until_s) if own.until_s else "for ever"
    word = "enrolled" if new else "enrolled already, nothing was changed (--again asks anew):"
    print(f"{word} in {own.fleet}{name} ({me.device}), until {until}, renewed before")
    print(f"configuration {place.file}, state {place.state}")
    if warning:
        print(output.paint(f"warning: {warning}", output.YELLOW))
    given = f" --config {args.config}" if args.config else ""
    if service:
        print("the service runs")
    elif new and not args.stay:
        print(f"Next: fedling-agent run{given}")
    if not configuration.load(place.file).streams:
        print(f"it has no sensor yet: fedling-agent stream add FILE.csv{given}")
