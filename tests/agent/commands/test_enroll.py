"""`fedling-agent enroll` in processes of its own, at a real mosquitto, aggregator by hand."""

import json
import os
import socket
import ssl
import stat
import subprocess
import threading
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer

import pytest

from fedling_agent.enrol import kept
from fedling_agent.store import tls_pair
from fedling_agent.store.files import PAIR_FILE
from fedling_agent.store.identity import KEY_FILE, SECRET_FILE
from fedling_agent.store.store import Store
from fedling_broker.mosquitto.configuration import CERTIFICATE, KEY
from fedling_broker.mosquitto.process import Mosquitto, free_port
from fedling_protocol.exits import Exit
from fedling_protocol.wire.identity import device_id
from fedling_protocol.wire.messages import Enrol, EnrolReason
from fedling_protocol.wire.token import Token
from tests.support.crash import sitecustomize as crash
from tests.support.guarded import TOPICS
from tests.support.hand_authority import ROOT
from tests.support.hand_fleet import COMMAND, HandFleet, OwnFleet
from tests.support.waiting import PATIENCE_S
from tests.support.websockets import Unwrapper

SECRETS = (KEY_FILE, SECRET_FILE, PAIR_FILE, "store.db")
CRASH = Path(crash.__file__).parent


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[HandFleet]:
    with HandFleet(tmp_path / "fleet") as fleet:
        yield fleet


class Board:
    """A machine's home: nothing is in it."""

    def __init__(self, home: Path, fleet: HandFleet) -> None:
        home.mkdir(parents=True)
        self.fleet = fleet
        self.file, self.state = home / "agent.toml", home / "state"

    @property
    def where(self) -> tuple[str, ...]:
        return ("--config", str(self.file), "--state", str(self.state))

    def enroll(
        self,
        token: Token | str,
        *more: str,
        code: int | None = 0,
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """What it says, on either stream."""
        text = token if isinstance(token, str) else token.text()
        done = self.fleet.run(
            "enroll", text, *self.where, *more, code=code, environment=environment
        )
        return done.stdout + done.stderr

    def json(self, *words: str, text: str = "") -> dict[str, object]:
        done = self.fleet.run(*words, "--json", *self.where, text=text)
        found: dict[str, object] = json.loads(done.stdout)
        return found

    def config(self) -> dict[str, object]:
        return tomllib.loads(self.file.read_text())


@pytest.fixture
def board(tmp_path: Path, fleet: HandFleet) -> Board:
    return Board(tmp_path / "board", fleet)


def test_token_makes_a_device_of_nothing(fleet: HandFleet, board: Board) -> None:
    said = board.enroll(fleet.invite(), "--name", "kitchen")
    assert "enrolled in home as kitchen" in said
    assert f"Next: fedling-agent run --config {board.file}" in said
    assert [ask.name for ask in fleet.asked] == ["kitchen"]
    found = board.config()
    assert (found["fleet"], found["root_key"]) == ("home", ROOT.public.hex())
    mqtt = found["mqtt"]
    assert isinstance(mqtt, dict)
    assert (mqtt["tls"], mqtt["server_name"]) == (True, "home.fedling")
    for name in SECRETS:
        assert stat.S_IMODE((board.state / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE(board.state.stat().st_mode) == 0o700
    assert not (board.state / kept.FILE).exists()
    assert not (board.state / tls_pair.NEXT_FILE).exists()


def test_token_comes_by_standard_input_too(fleet: HandFleet, board: Board) -> None:
    """Then it stands in no list of processes and in no history of a shell."""
    found = board.json("enroll", "-", text=fleet.invite().text().lower() + "\n")
    assert (found["fleet"], found["new"]) == ("home", True)


def test_a_name_that_no_device_can_have_is_told_before_anything_is_made(
    fleet: HandFleet, board: Board
) -> None:
    token = fleet.invite()
    for name in ("aggregator", "authority", "a" * 16, "Kitchen", "-a"):
        said = board.enroll(token, f"--name={name}", code=Exit.FAILED)
        assert f"--name {name}: allowed: [a-z0-9]" in said
    assert not board.state.exists()


@pytest.mark.long
def test_check_says_of_which_fleet_it_is_and_that_it_was_revoked(
    fleet: HandFleet, board: Board
) -> None:
    board.enroll(fleet.invite(), "--name", "kitchen")
    said = fleet.run("check", *board.where, code=None).stdout
    assert "in home as kitchen, until 20" in said
    store = Store(board.state)
    key = fleet.asked[0].key
    tomb = fleet.authority.of_device(key, revoked=True)
    store.vouched.keep_certificate(device_id(key), fleet.authority.serial, 1, tomb)
    store.close()
    said = fleet.run("check", *board.where, code=Exit.FAILED).stdout
    assert "revoked: fleet home has put this device out" in said
    assert "no: revoked" in fleet.run("status", *board.where).stdout


def test_status_and_sent_tell_of_it(fleet: HandFleet, board: Board) -> None:
    board.enroll(fleet.invite(), "--name", "kitchen")
    status = board.json("status")
    assert status["enrolled"]
    certificate = status["certificate"]
    assert isinstance(certificate, dict)
    assert (certificate["fleet"], certificate["name"]) == ("home", "kitchen")
    shown = fleet.run("status", *board.where).stdout
    assert "yes, in home as kitchen; the certificate holds until 20" in shown
    sent = fleet.run("sent", *board.where).stdout
    assert "asks to come into fleet home as kitchen" in sent


def test_device_that_is_enrolled_changes_nothing(fleet: HandFleet, board: Board) -> None:
    token = fleet.invite()
    board.enroll(token)
    before = {path: path.read_bytes() for path in board.state.glob("*.*") if path.is_file()}
    said = board.enroll(fleet.invite())
    assert "enrolled already, nothing was changed" in said
    assert len(fleet.asked) == 1
    for path in (board.file, board.state / PAIR_FILE, board.state / KEY_FILE):
        assert before.get(path, path.read_bytes()) == path.read_bytes()


def test_again_gets_new_certificates_for_the_same_device(fleet: HandFleet, board: Board) -> None:
    first = board.enroll(fleet.invite())
    pair = (board.state / PAIR_FILE).read_bytes()
    second = board.enroll(fleet.invite(), "--again", "--name", "hall")
    assert (board.state / PAIR_FILE).read_bytes() != pair
    assert fleet.asked[0].key == fleet.asked[1].key
    assert "enrolled in home (" in first
    assert "enrolled in home as hall" in second


def test_revoked_device_comes_in_as_a_new_one(fleet: HandFleet, board: Board) -> None:
    board.enroll(fleet.invite())
    old, token = fleet.asked[0].key, fleet.invite()

    def reply(ask: Enrol) -> bytes | None:
        if ask.key == old:
            return fleet.authority.denied(ask, EnrolReason.REVOKED, token)
        return fleet.grant(ask)

    fleet.reply = reply
    said = board.enroll(token, "--again")
    assert "enrolled in home" in said
    assert fleet.asked[-1].key != old
    assert (board.state / "device.key.revoked").exists()


@pytest.mark.parametrize("reason", [r for r in EnrolReason if r is not EnrolReason.BUSY])
def test_no_is_told_in_a_sentence_and_changes_nothing(
    fleet: HandFleet, board: Board, reason: EnrolReason
) -> None:
    token = fleet.invite()
    fleet.reply = lambda ask: fleet.authority.denied(ask, reason, token)
    said = board.enroll(token, code=Exit.FAILED)
    assert said.startswith("fedling-agent: ")
    assert len(said.splitlines()) == 1
    assert "did not prove" not in said
    assert not board.file.exists()
    fleet.reply = fleet.grant
    assert "enrolled in home" in board.enroll(token)


def test_no_that_nobody_proved_is_told_as_that(fleet: HandFleet, board: Board) -> None:
    fleet.reply = lambda ask: fleet.authority.denied(ask, EnrolReason.TOKEN_USED, None)
    assert "did not prove that they have the token" in board.enroll(fleet.invite(), code=1)


def test_busy_aggregator_is_asked_again(fleet: HandFleet, board: Board) -> None:
    token = fleet.invite()

    def reply(ask: Enrol) -> bytes | None:
        busy = len(fleet.asked) == 1
        return fleet.authority.denied(ask, "busy", token) if busy else fleet.grant(ask)

    fleet.reply = reply
    assert "enrolled in home" in board.enroll(token)
    assert len(fleet.asked) == 2


def test_answer_by_a_thief_is_passed_over(fleet: HandFleet, board: Board) -> None:
    """Somebody on the way answers first; the device believes the one who has the token."""
    token = fleet.invite()

    def reply(ask: Enrol) -> bytes | None:
        forged = fleet.authority.granted(ask, fleet.authority.token())
        fleet.end.link.publish(fleet.authority.back(ask), forged)
        return fleet.grant(ask)

    fleet.reply = reply
    assert "enrolled in home" in board.enroll(token)


def test_token_that_counts_no_more_is_refused_at_the_door(fleet: HandFleet, board: Board) -> None:
    token = fleet.invite()
    fleet.withdraw()
    said = board.enroll(token, code=Exit.UNAVAILABLE)
    assert "it knows no such token" in said
    assert "mqtt.user" not in said  # nobody who enrols has set that
    assert "if the token may be old, or its port wrong" in said
    assert "the operator makes a token with" in said
    assert fleet.asked == []


@pytest.mark.parametrize(
    ("port", "why"),
    [
        ("nobody's", "connection refused"),
        ("of devices", "this is not the port where devices enrol, but that of those that are"),
        ("without TLS", "devices do not enrol on this port"),
        ("not of MQTT", "no MQTT broker"),
    ],
)
def test_token_with_another_port_says_so_and_what_to_do(
    fleet: HandFleet, board: Board, port: str, why: str
) -> None:
    """Who enrols has no configuration that a sentence could tell them to change."""
    with ExitStack() as held:
        number = others_port(fleet, port, held)
        token = Token.generate(ROOT.public, TOPICS, "127.0.0.1", number)
        said = board.enroll(token, code=Exit.UNAVAILABLE)
    assert why in said.lower() or why in said
    assert f"127.0.0.1:{number}" in said
    assert "[enrolment] in broker.toml" in said
    assert "mqtt." not in said


def others_port(fleet: HandFleet, which: str, held: ExitStack) -> int:
    """A port where devices do not enrol."""
    if which == "of devices":
        return fleet.guarded.mosquitto.port
    if which == "without TLS":
        folder = fleet.guarded.files.directory / "plain"
        return held.enter_context(Mosquitto(folder)).port
    if which == "not of MQTT":
        return held.enter_context(WebServer(fleet.guarded.files.directory)).port
    return free_port()


class WebServer(ThreadingTCPServer):
    """What a web server says to whom it does not understand, over TLS."""

    allow_reuse_address = daemon_threads = True

    def __init__(self, certified: Path) -> None:
        super().__init__(("127.0.0.1", 0), BaseRequestHandler)
        self.port: int = self.socket.getsockname()[1]
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certified / CERTIFICATE, certified / KEY)
        self.thread = threading.Thread(target=self.serve_forever)

    def finish_request(self, request: object, _address: object) -> None:
        assert isinstance(request, socket.socket)
        with suppress(OSError), self.context.wrap_socket(request, server_side=True) as peer:
            peer.recv(1000)
            peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    def __enter__(self) -> "WebServer":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.thread.join()
        self.server_close()


def test_a_person_at_a_terminal_is_asked_for_a_line(tmp_path: Path) -> None:
    keyboard, terminal = os.openpty()
    where = ("--config", str(tmp_path / "agent.toml"), "--state", str(tmp_path / "state"))
    words = [*COMMAND, "enroll", "-", *where]
    with subprocess.Popen(words, stdin=terminal, stderr=subprocess.PIPE, text=True) as command:
        os.write(keyboard, b"K7QF-2M9D\n")  # and no end of the file
        try:
            _, said = command.communicate(timeout=PATIENCE_S)
        finally:
            command.kill()
    os.close(terminal)
    os.close(keyboard)
    assert command.returncode == Exit.FAILED
    assert said.startswith("token: fedling-agent: the token was mistyped")


@pytest.mark.parametrize("text", ["", "K7QF-2M9D", "x" * 5000, "é"])
def test_what_is_no_token_is_told_at_once(board: Board, text: str) -> None:
    said = board.enroll(text or "--", code=None)
    assert "token" in said or "usage" in said
    assert not board.state.exists()


def test_token_stands_in_no_output(fleet: HandFleet, board: Board) -> None:
    token = fleet.invite()
    said = board.enroll(token, "--name", "kitchen")
    letters = token.text()
    assert letters not in said
    assert letters[:9] not in said
    for path in board.state.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert token.secret not in data
            assert letters.encode() not in data


# --- an agent.toml of the owner's ---------------------------------------------------------------


def test_what_the_owner_wrote_stays(fleet: HandFleet, board: Board) -> None:
    board.file.write_text(
        f'# mine\nfleet = "home"\nroot_key = "{"0" * 64}"\n'
        'tasks = ["watch"]\n\n[mqtt]\nhost = "localhost"  # of before\nkeepalive_s = 77\n'
        'websocket_path = "/mqtt"\n'
        "[policy]\nbattery = 40  # half\n"
    )
    board.enroll(fleet.invite())
    text, found = board.file.read_text(), board.config()
    assert "# mine\n" in text
    assert "battery = 40  # half" in text
    assert found["tasks"] == ["watch"]
    assert found["root_key"] == ROOT.public.hex()
    mqtt = found["mqtt"]
    assert isinstance(mqtt, dict)
    assert (mqtt["keepalive_s"], mqtt["host"]) == (77, "127.0.0.1")
    assert "websocket_path" not in mqtt  # the way of before; a token's is MQTT over TLS


@pytest.mark.parametrize("path", ["", "/mqtt"])
def test_mqtt_broker_of_the_owners_stays_theirs(tmp_path: Path, path: str) -> None:
    """The token certifies the device's key; the way there, and who goes it, are the owner's."""
    with OwnFleet(tmp_path / "fleet") as fleet, closing(Unwrapper(fleet.mosquitto.port)) as web:
        board = Board(tmp_path / "board", fleet)
        password = board.file.parent / "password"
        password.write_text("sesame")
        password.chmod(0o600)
        port = web.port if path else fleet.mosquitto.port
        keys = f'host = "127.0.0.1"\nport = {port}\nuser = "pi"\nwebsocket_path = "{path}"\n'
        mqtt = f'[mqtt]\n{keys}password_file = "password"\n'
        board.file.write_text(f'fleet = "home"\nroot_key = "{"0" * 64}"\n{mqtt}')
        assert "enrolled in home as kitchen" in board.enroll(fleet.invite(), "--name", "kitchen")
        assert mqtt in board.file.read_text()
        assert board.config()["root_key"] == ROOT.public.hex()
        assert not (board.state / PAIR_FILE).exists()
        assert board.json("status")["enrolled"]


def test_file_that_cannot_be_changed_safely_is_not(fleet: HandFleet, board: Board) -> None:
    before = f'fleet = "home"\nroot_key = "{"0" * 64}"\nmqtt = {{ host = "localhost" }}\n'
    board.file.write_text(before)
    said = board.enroll(fleet.invite(), code=Exit.BAD_CONFIG)
    assert "run the same command again" in said
    assert board.file.read_text() == before


def test_token_of_another_fleet_is_told(fleet: HandFleet, board: Board) -> None:
    board.file.write_text(f'fleet = "work"\nroot_key = "{"0" * 64}"\n[mqtt]\nhost = "localhost"\n')
    said = board.enroll(fleet.invite(), code=Exit.FAILED)
    assert "this device is of fleet work, the token is for fleet home" in said


# --- kills ----------------------------------------------------------------------------------------


def points(file: Path) -> list[str]:
    """Where the process could be killed, in order."""
    size, data = crash.RECORD, file.read_bytes()
    return [data[at : at + size].decode().strip() for at in range(0, len(data), size)]


@pytest.mark.long
def test_kill_at_each_change_of_the_disk_and_the_same_command_goes_on(
    tmp_path: Path, fleet: HandFleet
) -> None:
    path = os.pathsep.join([str(CRASH), os.environ.get("PYTHONPATH", "")])

    def environment(number: int) -> dict[str, str]:
        count = str(tmp_path / f"points-{number}")
        return {"PYTHONPATH": path, crash.COUNT: count, crash.AT: str(number)}

    whole = Board(tmp_path / "whole", fleet)
    whole.enroll(fleet.invite(), environment=environment(0))
    names = points(tmp_path / "points-0")
    assert any("half of tls.pem" in name for name in names)
    for number, name in enumerate(names, 1):
        board, token = Board(tmp_path / str(number), fleet), fleet.invite()
        board.enroll(token, code=-9, environment=environment(number))
        said = board.enroll(token)
        assert "in home (" in said, name
        pair = tls_pair.certificate(board.state)
        assert pair is not None, name
        keys = {ask.key for ask in fleet.asked if ask.token_id == token.id}
        tls_keys = {ask.tls_key for ask in fleet.asked if ask.token_id == token.id}
        assert (len(keys), len(tls_keys)) == (1, 1), name
        assert not (board.state / kept.FILE).exists(), name
        assert not (board.state / tls_pair.NEXT_FILE).exists(), name
        store = Store(board.state, read_only=True)
        assert store.vouched.latest_s() > 0, name
        store.close()
        fleet.tokens.clear()
