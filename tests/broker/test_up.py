"""`up` asked for what cannot be: one sentence, and nothing is made that a second try would meet."""

from pathlib import Path

import pytest

from fedling_broker.cli import main
from fedling_broker.mosquitto.process import free_port
from fedling_protocol.exits import Exit
from tests.support.tools import need

SAME_PORT = ""
WRONG = {
    "--fleet Home!": (Exit.BAD_CONFIG, "allowed: a name"),
    "--task none.toml": (Exit.NOT_FOUND, "none.toml: there is no such file"),
    "--task text.toml": (Exit.BAD_CONFIG, "text.toml: not TOML"),
    "--task folder.toml": (Exit.FAILED, "folder.toml: cannot be read"),
    "--task small.toml": (Exit.BAD_CONFIG, "small.toml: task.name is missing"),
    SAME_PORT: (Exit.BAD_CONFIG, "allowed: another one than that of enrolled devices"),
}


@pytest.mark.parametrize("words", WRONG)
def test_nothing_is_made_of_a_wish_that_cannot_be(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    need("mosquitto")
    monkeypatch.chdir(tmp_path)
    Path("text.toml").write_text("no table at all")
    Path("small.toml").write_text("")
    Path("folder.toml").mkdir()
    given = set(Path().iterdir())
    code, said = WRONG[words]
    first, second = free_port(), free_port()
    other = first if words == SAME_PORT else second
    ports = ["--port", str(first), "--enrolment-port", str(other)]
    assert main(["up", *ports, *words.split()]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert set(Path().iterdir()) - given <= {Path("up.lock")}
