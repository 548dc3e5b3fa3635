"""A machine into which the lines of README.md were typed, and its two services."""

import json
import re
from pathlib import Path
from typing import Any

from tests.support.agent import TASK, rows
from tests.support.machine import HOME, Machine, blocks, lines

README = Path(__file__).parent.parent.parent / "README.md"
SERVICES = ("fedling-agent", "fedling-broker")
STATES = ("/var/lib/fedling-agent", "/var/lib/fedling-broker")
BY_PIP = r"predict|venv|/pip |ln -s|apt-get"  # lines that packages take the place of


def install(
    pi: Machine, but: str = "predict", task: str = TASK, day: tuple[int, int] = (12, 40)
) -> None:
    """Type what README.md says, until both services run.

    but: a pattern of lines that are left out; there is a model when a round is over
    day: how many recordings there are, and how many samples each has
    """
    text = README.read_text().split("## On real machines\n")[1].split("\n## ")[0]
    bring(pi, task, day)
    typed, said = [], ""
    for block in blocks(text):
        for line in lines(block):
            if re.search(but, line):
                continue
            said += pi.run(line.replace("$USER", "pi").replace("TOKEN", token(said)), "pi").stdout
            typed.append(line)
    assert len(typed) > 7
    until_active(pi)


def bring(pi: Machine, task: str = TASK, day: tuple[int, int] = (12, 40)) -> None:
    """The files that the lines speak of."""
    home = pi.root / HOME
    (home / "watch.toml").write_text(task)
    (home / "day.csv").write_text(rows(*day).replace(",x,y", ",ax,ay", 1))
    (home / "window.csv").write_text(rows(1, 4).replace(",x,y", ",ax,ay", 1))


def token(said: str) -> str:
    """The one that an invitation has printed last."""
    _, _, rest = said.rpartition("fedling-agent enroll ")
    return rest.split()[0] if rest else ""


def until_active(pi: Machine) -> None:
    names = " ".join(SERVICES)
    pi.until(lambda: pi(f"systemctl is-active {names}") == "active\nactive", names)


def shown(pi: Machine, service: str, what: str) -> str:
    return pi(f"systemctl show --value -p {what} {service}")


def status(pi: Machine) -> Any:
    """Asked by pi, who is in the group."""
    said = pi("fedling-agent status --json", "pi")
    return json.loads(said) if said else {}


def who(pi: Machine) -> str:
    """The device that the service is, and that `init` has made."""
    pi.until(lambda: status(pi).get("source") == "service", "the service's answer")
    device = str(status(pi)["device"])
    assert json.loads(pi("sudo fedling-agent init --json", "pi"))["device"] == device
    return device
