"""From a command line to an exit code, the same way in every program."""

import gc
import importlib
import io
import os
import signal
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import current_thread, main_thread
from types import FrameType, ModuleType

from fedling_protocol.command import entry
from fedling_protocol.exits import Exit

_Handler = Callable[[int, FrameType | None], object] | signal.Handlers
ENDING = (signal.SIGTERM, signal.SIGHUP)


def run_verb(name: str, package: str, args: Namespace) -> int:
    """Run the verb that `args.run` names, "task.add": the function add of PACKAGE.task.

    The module of a verb is imported when it is typed: a board takes long enough to start Python.
    PACKAGE.failures has EXITS, the exceptions of this program by exit code.
    """

    def call() -> int:
        module, function = str(args.run).split(".")
        verb = getattr(_imported(f"{package}.{module}"), function)
        return int(verb(args))

    as_json = getattr(args, "json", False)  # not every verb prints data
    return run(name, call, f"{package}.failures", as_json=as_json)


def _imported(name: str) -> ModuleType:
    """Import it while nothing is collected: none of it is garbage, and it would be looked through
    again and again, a thirtieth of a start."""
    collects = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(name)
    finally:
        if collects:
            gc.enable()


def _open_streams() -> None:
    """What was closed takes what is said to it; what is not in its alphabet is written \\xe9."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 (to the end)
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 (to the end)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class _Told(BaseException):
    """A signal came that ends this process, once what it has begun is put away."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def _told_to_end() -> Iterator[None]:
    """Have signals end what is inside as an exception does: no draft of a file stays behind.

    What was ignored before (nohup) stays so; services and `ingest` have ways of their own.
    """
    ours = [n for n, (before, _) in HANDLERS.items() if signal.getsignal(n) is before]
    if current_thread() is not main_thread():
        ours = []
    for number in ours:
        signal.signal(number, HANDLERS[number][1])
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, HANDLERS[number][0])


def _tell(number: int, _frame: FrameType | None) -> None:
    """End what runs; a second signal, as at the end of a login session, leaves that its time."""
    for other in ENDING:
        signal.signal(other, signal.SIG_IGN)
    raise _Told(number)


# What a signal does before and after a command's work, and within it.
HANDLERS: Mapping[signal.Signals, tuple[_Handler, _Handler]] = {
    **dict.fromkeys(ENDING, (signal.SIG_DFL, _tell)),
    signal.SIGINT: (entry.leave, signal.default_int_handler),
}


def run(name: str, call: Callable[[], int], failures: str, *, as_json: bool = False) -> int:
    """Call, and tell how it ended; a bug its class and place, and with `python -X dev` all of it.

    failures: the module with EXITS. as_json: an error is told as {"error", "exit"}, on standard
    error as always: standard output is for what was asked.
    """
    _open_streams()
    os.umask(os.umask(0o077) & 0o077)  # whatever it is: we may read and write what we make
    try:
        with _told_to_end():
            code = call()
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except _Told as told:  # whoever told us sees what the signal does by itself
        signal.signal(told.number, signal.SIG_DFL)
        os.kill(os.getpid(), told.number)
        raise AssertionError("the signal ends us") from told
    except BrokenPipeError:  # `... | head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except Exception as error:
        from fedling_protocol.command.failures import exit_code  # not needed for --help

        known = exit_code(error, importlib.import_module(failures).EXITS)
        text = str(error)
        if known is None:
            if sys.flags.dev_mode:
                raise
            from fedling_protocol.runtime import mishaps

            known, text = Exit.FAILED, f"{mishaps.sentence(error)}; this is a fault of fedling"
        said = f"{name}: {text}"
        if as_json:
            import json

            said = json.dumps({"error": text, "exit": int(known)}, ensure_ascii=False)
        print(said, file=sys.stderr)
        return known
