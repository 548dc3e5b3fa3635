"""What nobody expected, in one line: the words of an error, and where in our code it came from.

A service that meets such a thing ends the smallest unit that it happened in, and lives on.
"""

from pathlib import Path
from types import TracebackType

PACKAGES = ("fedling_native", "fedling_protocol", "fedling_agent", "fedling_broker")


def sentence(error: BaseException) -> str:
    """Say what went wrong: an error with words of its own, else its class, text and place."""
    if type(error).__module__.startswith(PACKAGES) and str(error):
        return str(error)
    where = _where(error.__traceback__)
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return f"{text} (at {where})" if where else text


def _where(traceback: TracebackType | None) -> str:
    """Find the innermost line of ours: "service/fold.py, line 30"."""
    found = ""
    while traceback is not None:
        path = Path(traceback.tb_frame.f_code.co_filename)
        ours = [index for index, part in enumerate(path.parts) if part in PACKAGES]
        if ours:
            found = f"{'/'.join(path.parts[ours[-1] :])}, line {traceback.tb_lineno}"
        traceback = traceback.tb_next
    return found
