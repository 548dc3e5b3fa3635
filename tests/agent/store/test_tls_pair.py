"""The pair of TLS on disk: whole at any instant, wherever a kill falls."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from fedling_agent.store import tls_pair
from fedling_agent.store.files import PAIR_FILE
from fedling_agent.store.tls_pair import CA_FILE, NEXT_FILE, NotAPair
from fedling_broker.authority import x509 as authority
from fedling_broker.authority.x509 import EPOCH, TlsAuthority
from fedling_protocol.common_settings import MqttSettings
from fedling_protocol.disk import durable
from fedling_protocol.net import tls_files

DEVICE = "a" * 16
WRITES = ("write_file", "create_file", "remove_file", "_put", "sync_directory")


class Killed(BaseException):
    """The process is gone: nothing after this happens, no `finally` of ours is relied upon."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> TlsAuthority:
    return authority.create_ca(tmp_path_factory.mktemp("authority"), "home")


def certified(made: TlsAuthority, public: bytes) -> bytes:
    return made.client(DEVICE, public, EPOCH, authority.NO_END)


def settings_of(directory: Path) -> MqttSettings:
    return MqttSettings(
        "h",
        tls=True,
        ca_file=directory / CA_FILE,
        certificate_file=directory / PAIR_FILE,
        key_file=directory / PAIR_FILE,
    )


def is_whole(directory: Path) -> bool:
    """As Python's ssl and openssl want it."""
    tls_files.context(settings_of(directory))
    found = tls_pair.certificate(directory)
    assert found is not None
    key = load_pem_private_key((directory / PAIR_FILE).read_bytes(), None)
    numbers = key.public_key().public_numbers()  # type: ignore[union-attr]
    return bool(numbers == found.public_key().public_numbers())  # type: ignore[union-attr]


def test_key_is_asked_for_again_until_its_certificate_is_here(
    tmp_path: Path, made: TlsAuthority
) -> None:
    asked = tls_pair.ask_key(tmp_path)
    assert tls_pair.ask_key(tmp_path) == asked
    assert (tmp_path / NEXT_FILE).stat().st_mode & 0o777 == 0o600
    tls_pair.take(tmp_path, certified(made, asked), made.der)
    assert is_whole(tmp_path)
    assert (tmp_path / PAIR_FILE).stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / NEXT_FILE).exists()
    assert tls_pair.ask_key(tmp_path) != asked


def test_taking_a_pair_twice_is_taking_it_once(tmp_path: Path, made: TlsAuthority) -> None:
    new = certified(made, tls_pair.ask_key(tmp_path))
    tls_pair.take(tmp_path, new, made.der)
    before = (tmp_path / PAIR_FILE).read_bytes()
    tls_pair.take(tmp_path, new, made.der)
    assert (tmp_path / PAIR_FILE).read_bytes() == before


def killed_at(
    monkeypatch: pytest.MonkeyPatch, number: int, run: Callable[[], None], half: bool
) -> bool:
    """Run, dead at the n-th change of the disk, before it or in its middle; False: it was none."""
    seen = 0
    with monkeypatch.context() as patch:

        def wrap(name: str) -> None:
            real = getattr(durable, name)

            def counted(*words: object, **options: object) -> object:
                nonlocal seen
                seen += 1
                if seen == number:
                    raise Killed
                return real(*words, **options)

            patch.setattr(durable, name, counted)

        for name in WRITES if half else WRITES[:3]:
            wrap(name)
        try:
            run()
        except Killed:
            return True
    return False


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("ca_too", [False, True])
def test_kill_at_each_change_of_the_disk_leaves_a_whole_pair(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    made: TlsAuthority,
    monkeypatch: pytest.MonkeyPatch,
    half: bool,
    ca_too: bool,
) -> None:
    other = authority.create_ca(tmp_path_factory.mktemp("other"), "home") if ca_too else made
    for number in range(1, 50):
        state = tmp_path / str(number)
        state.mkdir()
        first = certified(made, tls_pair.ask_key(state))
        tls_pair.take(state, first, made.der)
        old = (state / PAIR_FILE).read_bytes()

        def renew(state: Path = state) -> None:
            public = tls_pair.ask_key(state)
            tls_pair.take(state, certified(other, public), other.der)

        killed = killed_at(monkeypatch, number, renew, half)
        assert is_whole(state)
        renew()  # the same command again
        assert is_whole(state)
        assert (state / PAIR_FILE).read_bytes() != old
        assert not (state / NEXT_FILE).exists()
        if not killed:
            assert number > 3
            return
    raise AssertionError("there is no end of changes")


def test_old_authority_is_believed_until_the_next_but_one(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    cas = [authority.create_ca(tmp_path_factory.mktemp("ca"), "home") for _ in range(3)]
    for one in cas:
        tls_pair.take(tmp_path, certified(one, tls_pair.ask_key(tmp_path)), one.der)
    text = (tmp_path / CA_FILE).read_bytes()
    assert text == authority.pem(cas[2].der) + authority.pem(cas[1].der)
    assert is_whole(tmp_path)


def test_certificate_for_another_key_is_told(tmp_path: Path, made: TlsAuthority) -> None:
    asked = tls_pair.ask_key(tmp_path)
    tls_pair.check(certified(made, asked), made.der, asked)
    with pytest.raises(NotAPair, match="another key"):
        tls_pair.check(certified(made, tls_pair.ask_key(tmp_path.parent)), made.der, asked)


@given(st.binary(max_size=200) | st.tuples(st.integers(0, 600), st.integers(1, 255)))
def test_bytes_that_are_no_certificate_are_told(
    made: TlsAuthority, data: bytes | tuple[int, int]
) -> None:
    """Random ones, and a real one with a byte changed, raise nothing but that."""
    if isinstance(data, tuple):
        real = bytearray(made.der)
        real[data[0] % len(real)] ^= data[1]
        data = bytes(real)
    with suppress(NotAPair):
        assert len(tls_pair.public_of(data)) == 33
