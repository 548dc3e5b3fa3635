"""Each attack fails, and succeeds as soon as its defence is taken away: so it is that which holds.

Judged by its effect: the device's model, the journal, what `round verify` says, who is connected.
"""

from collections import Counter
from pathlib import Path

import pytest

from tests.support.attacks.every import ATTACKS
from tests.support.attacks.stage import (
    Stage,
)
from tests.support.attacks.table import Attack
from tests.support.tools import need


@pytest.fixture(params=ATTACKS, ids=[attack.name for attack in ATTACKS])
def attack(request: pytest.FixtureRequest) -> Attack:
    need("mosquitto")
    found = request.param
    assert isinstance(found, Attack)
    return found


def test_attack_fails(attack: Attack, tmp_path: Path) -> None:
    with Stage(tmp_path, guarded=attack.guarded) as stage:
        assert not attack.play(stage)


def test_attack_succeeds_without_its_defence(
    attack: Attack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test of the test: what failed above failed for the reason that is named."""
    attack.off(monkeypatch)
    with Stage(tmp_path, guarded=attack.guarded, left_out=attack.left_out) as stage:
        assert attack.play(stage)


def test_attacks_have_names_of_their_own() -> None:
    names = Counter(attack.name for attack in ATTACKS)
    assert [name for name, times in names.items() if times > 1] == []
