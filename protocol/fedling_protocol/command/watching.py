"""A command that shows what it reads again and again."""

import sys
import time
from collections.abc import Callable
from typing import NoReturn, TypeVar

from fedling_protocol.command import output
from fedling_protocol.moments import moment

T = TypeVar("T")


def watch(
    read: Callable[[], T], show: Callable[[T], None], every_s: float, *, as_json: bool
) -> NoReturn:
    """Read and show; Ctrl-C ends it, and what reading raises. A terminal is drawn anew each time.

    What is there stays until the next is known: reading may take seconds.
    """
    while True:
        found = read()
        if not as_json:
            output.clear()
        show(found)
        if not as_json:
            again = f"{moment(time.time())}, again every {every_s:g} s"
            output.print_pairs([("read", again)])
        sys.stdout.flush()
        time.sleep(every_s)
