"""A device on ports that a test holds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service import HandService


@pytest.fixture
def device(tmp_path: Path) -> Iterator[HandService]:
    """It is connected, and nothing has happened yet."""
    device = HandService(tmp_path)
    device.connect()
    yield device
    device.close()
