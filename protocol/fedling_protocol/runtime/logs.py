"""Where log lines go: standard error, with levels that the journal understands."""

import logging
import os
import sys

# sd-daemon(3): a priority at the line's start
PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3}


class _Journal(logging.Formatter):
    """The journal adds time, name and pid by itself."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record).replace("\n", "\n  ")
        return f"<{PRIORITY.get(record.levelno, 5)}>{text}"


def set_up(level: str) -> None:
    """Set logging up for a service. level: as in logging, in lower case."""
    handler = logging.StreamHandler(sys.stderr)
    if os.environ.get("JOURNAL_STREAM"):  # systemd.exec(5)
        handler.setFormatter(_Journal("%(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
