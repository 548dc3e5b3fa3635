"""Who may do what at a mosquitto: users, passwords, access lists."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.support.tools import need


def password_settings(
    directory: Path, user: str, password: str, *, others: bool = False
) -> list[str]:
    """Write a password file: the lines of mosquitto.conf for it. others: let in without any"""
    file = directory / "passwords"
    command = [need("mosquitto_passwd", "mosquitto"), "-b", "-c", str(file), user, password]
    subprocess.run(command, check=True, capture_output=True)
    file.chmod(0o644)
    return [f"allow_anonymous {str(others).lower()}", f"password_file {file}"]


def access_settings(directory: Path, rules: Sequence[str]) -> list[str]:
    """Write an access list; the lines of mosquitto.conf that make it hold."""
    file = directory / "access"
    file.write_text("\n".join(rules) + "\n")
    return [f"acl_file {file}"]
