"""The answer on disk: what is found again is checked again."""

from dataclasses import replace
from pathlib import Path

import pytest

from fedling_agent.enrol import kept
from fedling_protocol.wire.identity import SigningKey
from fedling_protocol.wire.messages import Enrol
from fedling_protocol.wire.token import Token
from tests.agent.enrol.test_asking import KEY, asked
from tests.support.hand_authority import HandAuthority


@pytest.fixture
def fleet(tmp_path: Path) -> HandAuthority:
    return HandAuthority(tmp_path / "fleet")


def keep(directory: Path, fleet: HandAuthority, token: Token) -> Enrol:
    question = asked(token)
    kept.keep(directory, question, fleet.granted(question, token))
    return question


def test_answer_is_found_again_until_all_was_made_of_it(
    tmp_path: Path, fleet: HandAuthority
) -> None:
    token = fleet.token()
    assert kept.find(tmp_path, KEY.public, token) is None
    question = keep(tmp_path, fleet, token)
    found = kept.find(tmp_path, KEY.public, token)
    assert found is not None
    assert found.tls_key == question.tls_key
    assert found.granted.certificate.name == "kitchen"
    assert (tmp_path / kept.FILE).stat().st_mode & 0o777 == 0o600
    kept.done(tmp_path)
    kept.done(tmp_path)
    assert kept.find(tmp_path, KEY.public, token) is None


def test_answer_to_another_token_or_key_is_not_taken(tmp_path: Path, fleet: HandAuthority) -> None:
    token = fleet.token()
    keep(tmp_path, fleet, token)
    assert kept.find(tmp_path, KEY.public, fleet.token()) is None
    assert kept.find(tmp_path, KEY.public, replace(token, fingerprint=bytes(16))) is None
    assert kept.find(tmp_path, SigningKey.generate().public, token) is None


def test_damage_anywhere_has_the_question_asked_again(tmp_path: Path, fleet: HandAuthority) -> None:
    token = fleet.token()
    keep(tmp_path, fleet, token)
    good = (tmp_path / kept.FILE).read_bytes()
    cuts = [good[:size] for size in range(0, len(good), 97)]
    tls_key = range(16, 49)  # checked when the pair is made
    for at in range(0, len(good), 31):
        if at not in tls_key:
            cuts.append(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
    for bad in [*cuts, bytes(len(good)), b""]:
        (tmp_path / kept.FILE).write_bytes(bad)
        assert kept.find(tmp_path, KEY.public, token) is None
