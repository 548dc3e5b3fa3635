"""Where agent.toml is, when nobody names it."""

from pathlib import Path

import pytest

from fedling_agent import config
from fedling_protocol.settings import SettingsError


@pytest.mark.parametrize(
    ("uid", "machines", "expected"),
    [
        (0, False, "etc/agent.toml"),
        (0, True, "etc/agent.toml"),
        (1000, True, "etc/agent.toml"),
        (1000, False, "home/fedling/agent.toml"),
    ],
)
def test_configuration_is_the_machines_or_where_it_has_none_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: int, machines: bool, expected: str
) -> None:
    file = tmp_path / "etc" / "agent.toml"
    if machines:
        file.parent.mkdir()
        file.touch()
    monkeypatch.setattr(config, "DEFAULT_FILE", file)
    monkeypatch.setattr("os.geteuid", lambda: uid)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    assert config.default_file() == tmp_path / expected


def test_a_file_that_is_not_there_says_how_it_comes_to_be(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"agent.toml: there is no such file; .*enroll` writes"):
        config.load(tmp_path / "agent.toml")
