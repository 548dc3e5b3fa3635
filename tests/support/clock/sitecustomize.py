"""Shifts what Python's time.time() says in a process whose PYTHONPATH has this folder first.

    CLOCK_SHIFT   seconds to add
    CLOCK_AT      Unix time at which the process begins, instead

What OpenSSL and the kernel take for the time stays as it is.
"""

import os
import time

SHIFT, AT = "CLOCK_SHIFT", "CLOCK_AT"


def shift() -> None:
    """Begin to lie, if the environment says so."""
    real = time.time
    begun = real()
    more = float(os.environ.get(SHIFT, "0"))
    if AT in os.environ:
        more = float(os.environ[AT]) - begun
    time.time = lambda: real() + more


if __name__ == "sitecustomize":
    shift()
