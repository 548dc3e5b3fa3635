"""`fedling-agent recordings`: listed, labelled, forgotten, with a service and without."""

from typing import Any

import pytest

from fedling_agent.store import recordings as module
from fedling_protocol.exits import Exit
from tests.support.agent import Agent, rows

R0 = ("--recording", "r0")


@pytest.fixture
def agent(agent: Agent) -> Agent:
    agent.run("ingest", "wrist", text=rows(3, 20))
    return agent


def listed(agent: Agent) -> dict[str, dict[str, Any]]:
    return {r["recording"]: r for r in agent.json("recordings", "list")}


def test_list_newest_first(agent: Agent) -> None:
    assert list(listed(agent)) == ["r2", "r1", "r0"]
    assert listed(agent)["r1"]["labels"] == {"label 1": 20}
    text = agent.run("recordings", "list", "wrist", "--limit", "2").stdout
    assert "r2" in text
    assert "r0" not in text
    assert "the newest 2; --limit N lists more" in text


def test_a_stream_of_another_name_is_no_empty_one(agent: Agent) -> None:
    for words in (["list", "ankle"], ["forget", "ankle", "--all"]):
        said = agent.run("recordings", *words, code=Exit.NOT_FOUND)
        assert 'agent.toml names no stream "ankle"; streams: wrist' in said.stderr
    assert "forgot 3" in agent.run("recordings", "forget", "wrist", "--all").stdout
    assert "forgot 0" in agent.run("recordings", "forget", "wrist", "--all").stdout
    assert agent.run("recordings", "list", "wrist").stdout == "nothing is stored\n"


def test_list_of_many_is_read_in_pages(agent: Agent) -> None:
    lines = "".join(f"n{n},a,1,1\n" for n in range(3 * module.LISTED))
    agent.run("ingest", "wrist", text="recording,label,x,y\n" + lines)
    found = agent.json("recordings", "list", "--limit", "1000")
    assert len({r["recording"] for r in found}) == 3 * module.LISTED + 3


def test_label_all_or_some(agent: Agent) -> None:
    agent.run("label", "wrist", "walk", "--recording", "r0")
    agent.run("label", "wrist", "cafe\u0301 ", "--recording", "r1", "--first", "15")
    agent.run("label", "wrist", "", "--recording", "r2", "--last", "4")
    found = listed(agent)
    assert found["r0"]["labels"] == {"walk": 20}
    assert found["r1"]["labels"] == {"label 1": 15, "caf\u00e9": 5}
    assert found["r2"]["labels"] == {"label 2": 15}
    status = agent.json("status")["streams"]["wrist"]["labels"]
    assert status == {"walk": 20, "label 1": 15, "label 2": 15, "caf\u00e9": 5}


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("label", "wrist", "walk", "--recording", "r9"), Exit.NOT_FOUND, "no recording r9"),
        (("label", "ankle", "walk", *R0), Exit.NOT_FOUND, 'no stream "ankle"'),
        (
            ("label", "wrist", "w", *R0, "--last", "20"),
            Exit.FAILED,
            "0..20 of 0..19",
        ),
        (
            ("label", "wrist", "w" * 65, *R0),
            Exit.FAILED,
            "64 bytes of printable text",
        ),
        (("recordings", "forget", "wrist", "r0", "r9"), Exit.NOT_FOUND, "no recording r9"),
        (("recordings", "forget", "wrist"), Exit.FAILED, "--all"),
        (("recordings", "forget", "wrist", "r0", "--all"), Exit.FAILED, "--all"),
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(
    agent: Agent, words: tuple[str, ...], code: Exit, says: str
) -> None:
    before = listed(agent)
    assert says in agent.run(*words, code=code).stderr
    assert listed(agent) == before


def test_forget_some_and_all(agent: Agent) -> None:
    assert agent.json("recordings", "forget", "wrist", "r0", "r2") == {"forgotten": 2}
    assert list(listed(agent)) == ["r1"]
    assert "forgot 1 recordings" in agent.run("recordings", "forget", "wrist", "--all").stdout
    assert listed(agent) == {}
    agent.run("ingest", "wrist", text=rows(1, 20))
    assert list(listed(agent)) == ["r0"]
