"""Tokens: the text that a person copies, and what is derived from the secret."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedling_protocol.wire import names
from fedling_protocol.wire.token import LONGEST, Purpose, Token, TokenError, fingerprint
from fedling_protocol.wire.topics import Topics
from tests.protocol.samples import DEVICE, ROOT, TOPICS, golden

GOLDEN = golden("token")
TOKEN = Token(
    bytes.fromhex(GOLDEN["secret"]),
    bytes.fromhex(GOLDEN["fingerprint"]),
    GOLDEN["fleet"],
    GOLDEN["topic_root"],
    GOLDEN["host"],
    GOLDEN["port"],
)
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
ROOTS = st.from_regex(r"[A-Za-z0-9_.-]{1,32}(/[A-Za-z0-9_.-]{1,32}){0,3}", fullmatch=True)
TOKENS = st.builds(
    Token,
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=16, max_size=16),
    st.from_regex(names.NAME, fullmatch=True),
    ROOTS,
    st.from_regex(names.HOST, fullmatch=True).filter(names.is_host) | st.ip_addresses().map(str),
    st.integers(1, 65_535),
)


def refusal(text: str) -> str:
    """Why it is no token; empty: it is one."""
    try:
        Token.parse(text)
    except TokenError as error:
        return str(error)
    return ""


def test_text_is_the_golden_one() -> None:
    assert TOKEN.text() == GOLDEN["text"]
    assert Token.parse(GOLDEN["text"]) == TOKEN


def test_derived_values_are_the_golden_ones() -> None:
    assert TOKEN.id.hex() == GOLDEN["id"]
    assert TOKEN.user() == GOLDEN["user"]
    assert TOKEN.user(15) == GOLDEN["user"] + "-15"
    assert TOKEN.password == GOLDEN["password"]
    for purpose in Purpose:
        mac = bytes.fromhex(GOLDEN["mac_of_nothing"][purpose])
        assert TOKEN.seal(purpose, b"") == mac
        assert TOKEN.check(purpose, b"", mac)
        assert not TOKEN.check(purpose, b"x", mac)


def test_a_code_is_for_one_purpose() -> None:
    mac = TOKEN.seal(Purpose.ASK, b"data")
    assert not TOKEN.check(Purpose.ANSWER, b"data", mac)
    assert not TOKEN.check(Purpose.ASK, b"data", b"")


@given(TOKENS)
def test_text_of_any_token_is_read_back(token: Token) -> None:
    assert Token.parse(token.text()) == token
    assert len(token.text()) <= LONGEST


def test_parse_forgives_how_it_was_copied() -> None:
    text = GOLDEN["text"]
    for copied in (
        text.lower(),
        text.replace("-", ""),
        text.replace("-", " "),
        f"  {text}\n",
        "\n".join(text.split("-")),
        text.replace("O", "0").replace("I", "1").replace("B", "8"),
        text.replace("-", " - "),
    ):
        assert Token.parse(copied) == TOKEN


@pytest.mark.parametrize(
    "sign", ["\u2013", "\u2014", "\u200b", "\ufeff", "\u00a0", "\u00ad", "\u2011"]
)
def test_parse_forgives_what_a_chat_makes_of_a_dash(sign: str) -> None:
    assert Token.parse(sign + GOLDEN["text"].replace("-", sign) + sign) == TOKEN


@given(st.data())
def test_parse_forgives_dashes_and_spaces_of_every_script(data: st.DataObject) -> None:
    signs = st.characters(categories=["Pd", "Zs", "Zl", "Zp", "Cc", "Cf"]) | st.just("\u2212")
    groups = GOLDEN["text"].split("-")
    between = data.draw(st.lists(signs, min_size=len(groups), max_size=len(groups)))
    assert Token.parse("".join(map(str.__add__, groups, between))) == TOKEN


@given(st.data())
def test_one_wrong_sign_is_told(data: st.DataObject) -> None:
    text = GOLDEN["text"].replace("-", "")
    at = data.draw(st.integers(0, len(text) - 1))
    wrong = data.draw(st.sampled_from(LETTERS).filter(lambda letter: letter != text[at]))
    with pytest.raises(TokenError, match="mistyped"):
        Token.parse(text[:at] + wrong + text[at + 1 :])


@given(st.data())
def test_two_signs_in_the_wrong_order_are_told(data: st.DataObject) -> None:
    text = GOLDEN["text"].replace("-", "")
    at = data.draw(st.integers(0, len(text) - 2).filter(lambda n: text[n] != text[n + 1]))
    with pytest.raises(TokenError, match="mistyped"):
        Token.parse(text[:at] + text[at + 1] + text[at] + text[at + 2 :])


def test_a_part_of_a_token_is_told() -> None:
    text = GOLDEN["text"]
    for cut in range(len(text) - 1):
        with pytest.raises(TokenError):
            Token.parse(text[:cut])
        with pytest.raises(TokenError):
            Token.parse(text[cut + 1 :])
    with pytest.raises(TokenError):
        Token.parse(text + text)


@given(st.text() | st.text(alphabet=LETTERS + "-018 ", max_size=300))
def test_parse_raises_nothing_else(text: str) -> None:
    assert refusal(text)


@given(st.text(alphabet=LETTERS, min_size=8))
def test_what_is_told_has_nothing_of_the_text(text: str) -> None:
    told = refusal(text)
    assert not any(text[n : n + 8] in told for n in range(len(text) - 7))


def checked(data: bytes) -> str:
    """A text with a right check, whatever is before it."""
    check = hashlib.sha256(b"fedling token" + data).digest()[:4]
    return base64.b32encode(data + check).decode().rstrip("=")


def test_a_text_has_one_spelling() -> None:
    """Nothing may stand in the bits behind the last byte."""
    text = checked(b"\1" + TOKEN.secret + bytes(16) + b"\0\1" + b"\1f\0\1h")
    assert len(text) * 5 % 8
    last = LETTERS.index(text[-1])
    assert refusal(text) == ""
    assert "last sign" in refusal(text[:-1] + LETTERS[last + 1])


@pytest.mark.parametrize(
    ("rest", "told"),
    [
        (b"\1f\0\1h", ""),
        (b"\1f\0\1h\0", "behind its end"),
        (b"\1f\0\2h", "too soon"),
        (b"\1f\0", "too soon"),
        (b"", "too soon"),
        (b"\1\xff\0\1h", "no text"),
        (b"\1F\0\1h", "not a fleet"),
        (b"\0\0\1h", "not a fleet"),
        (b"\1f\0\0", "address"),
        (b"\1f\1+\1h", "topic root"),
    ],
)
def test_what_stands_behind_a_right_check_is_looked_at(rest: bytes, told: str) -> None:
    text = checked(b"\1" + TOKEN.secret + bytes(16) + b"\0\1" + rest)
    assert told in refusal(text)
    assert bool(told) == bool(refusal(text))


def test_parse_looks_at_no_long_text() -> None:
    with pytest.raises(TokenError, match="too long"):
        Token.parse("A" * (LONGEST + 1))


@given(st.binary(max_size=80), st.sampled_from([0, 1, 1, 1, 2, 255]))
def test_any_bytes_behind_a_right_check_raise_nothing_else(data: bytes, version: int) -> None:
    """Whoever writes a token by a program makes its check right."""
    told = refusal(checked(bytes([version]) + data))
    assert "mistyped" not in told
    assert (f"of version {version}" in told) == (version != 1)


def test_secret_is_in_no_text_about_it() -> None:
    for text in (repr(TOKEN), str(TOKEN), f"{TOKEN}", repr([TOKEN])):
        assert TOKEN.secret.hex() not in text
        assert repr(TOKEN.secret) not in text
        assert "secret" not in text
    derived = (TOKEN.id, TOKEN.seal(Purpose.ASK, b""), TOKEN.password.encode())
    assert not any(TOKEN.secret in value for value in derived)


@pytest.mark.parametrize(
    "wrong",
    [
        (bytes(15), bytes(16), "demo", "fedling", "host", 1),
        (bytes(16), bytes(17), "demo", "fedling", "host", 1),
        (bytes(16), bytes(16), "Demo", "fedling", "host", 1),
        (bytes(16), bytes(16), "demo", "a/+", "host", 1),
        (bytes(16), bytes(16), "demo", "fedling", "a host", 1),
        (bytes(16), bytes(16), "demo", "fedling", "", 1),
        (bytes(16), bytes(16), "demo", "fedling", "host", 0),
        (bytes(16), bytes(16), "demo", "fedling", "host", 65_536),
    ],
)
def test_impossible_tokens_are_refused(wrong: tuple[bytes, bytes, str, str, str, int]) -> None:
    with pytest.raises(TokenError, match="a token"):
        Token(*wrong)


def test_generate_makes_another_secret_each_time() -> None:
    one, two = (Token.generate(ROOT.public, TOPICS, "::1", 8884) for _ in range(2))
    assert one.secret != two.secret
    assert one.id != two.id
    assert one.fingerprint == fingerprint(ROOT.public) == TOKEN.fingerprint
    assert one.vouches_for(ROOT.public)
    assert not one.vouches_for(DEVICE.public)
    assert Token.parse(one.text()) == one


def test_topic_root_of_another_installation_travels() -> None:
    token = Token.generate(ROOT.public, Topics("site/fedling", "demo"), "host", 1)
    assert Token.parse(token.text()).topic_root == "site/fedling"
