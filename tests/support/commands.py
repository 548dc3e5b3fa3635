"""A command of ours in the process of the test: it says and returns what a process would.

A start of Python takes longer than most commands. What a process is (its streams, signals, umask,
imports) is tried where commands are processes: tests/agent/test_cli.py.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from io import BytesIO, TextIOWrapper
from threading import Thread


def run_here(
    main: Callable[[Sequence[str]], int], words: Sequence[str], text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Call it with standard input and outputs of its own. text: what comes in by a pipe"""
    out, err = TextIOWrapper(BytesIO(), "utf-8"), TextIOWrapper(BytesIO(), "utf-8")
    with _typed(text), redirect_stdout(out), redirect_stderr(err):
        try:
            code = main(words)
        except SystemExit as ended:  # of argparse
            code = int(ended.code or 0)
    return subprocess.CompletedProcess(words, code, _said(out), _said(err))


def _said(stream: TextIOWrapper) -> str:
    stream.flush()
    stream.seek(0)
    return stream.read()


@contextmanager
def _typed(text: str) -> Iterator[None]:
    """Have a pipe stand where standard input stands; it is closed behind the text."""
    read, write = os.pipe2(os.O_CLOEXEC)
    before = sys.stdin

    def feed() -> None:
        with suppress(BrokenPipeError), os.fdopen(write, "w", encoding="utf-8") as end:
            end.write(text)

    feeder = Thread(target=feed)
    with os.fdopen(read, encoding="utf-8") as pipe:
        sys.stdin = pipe
        feeder.start()
        try:
            yield
        finally:
            sys.stdin = before
    feeder.join()
