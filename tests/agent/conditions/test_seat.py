"""Nobody is at the keyboard and screen: systemd-logind, played on a real bus."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from fedling_agent import config as configuration
from fedling_agent.conditions.bus import Bus
from fedling_agent.conditions.condition import Lack, Roots
from fedling_agent.conditions.decision import Memory, decide
from fedling_agent.conditions.seat import unattended
from fedling_agent.conditions.words import sentence
from tests.support.agent import Agent
from tests.support.bus import DBus, Variant, played
from tests.support.conditions import policy, readings

SERVICE = "org.freedesktop.login1"
ASKED = ("/org/freedesktop/login1/seat/seat0", "Get", (f"{SERVICE}.Seat", "IdleHint"))


@pytest.fixture
def roots() -> Iterator[Roots]:
    with closing(Bus()) as bus:
        yield Roots(unattended=True, bus=bus)


def test_nobody_is_there_while_the_seat_is_idle(dbus: DBus, roots: Roots) -> None:
    told: dict[object, Variant] = {ASKED: ("v", ("b", True))}
    with played(dbus, SERVICE, lambda *words: told[words]):
        assert unattended(roots).value is True


def test_who_is_there_is_not_disturbed_by_training(dbus: DBus, roots: Roots) -> None:
    told: dict[object, Variant] = {ASKED: ("v", ("b", False))}
    with played(dbus, SERVICE, lambda *words: told[words]):
        found = unattended(roots)
    own = policy(unattended=True)
    allowance, _ = decide(own, None, readings(unattended=found), Memory())
    assert allowance.send
    (reason,) = allowance.train_reasons
    assert (reason.code, sentence(reason)) == (
        "attended",
        "somebody is at this machine: IdleHint is no (policy.unattended asks for nobody)",
    )
    allowance, _ = decide(policy(), None, readings(unattended=found), Memory())
    assert allowance.train


@pytest.mark.usefixtures("dbus")
def test_what_nobody_knows_is_no_objection(roots: Roots) -> None:
    found = unattended(roots)
    assert (found.lack, found.detail) == (Lack.UNTOLD, f"{SERVICE} does not run")
    own = policy(unattended=True)
    allowance, _ = decide(own, None, readings(unattended=found), Memory())
    assert allowance.train


@pytest.mark.parametrize("asks", [True, False])
def test_agent_toml_says_whether_it_matters(tmp_path: Path, asks: bool) -> None:
    agent = Agent(tmp_path, 1, policy="unattended = true" if asks else "")
    assert configuration.load(agent.config).roots.unattended is asks


def test_nobody_is_asked_who_does_not_matter(dbus: DBus, roots: Roots) -> None:
    with played(dbus, SERVICE, lambda *_: ("v", ("b", False))) as called:
        assert unattended(Roots(bus=roots.bus)).lack is Lack.ABSENT
        assert called == []
