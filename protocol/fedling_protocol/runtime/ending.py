"""How a service ends: for good, or to begin anew in the same process with what is configured now.

The second is what SIGHUP asks for under a service manager (`systemctl reload`). All is let go of in
good order and made again by exec, so that nothing of an old configuration lives on, and the
service manager still sees one process that never failed. A configuration that is wrong changes
nothing. Without a service manager SIGHUP is the terminal that was closed, and ends the service.
"""

import logging
import os
import signal
import sys
from collections.abc import Callable

from fedling_protocol.runtime import sdnotify
from fedling_protocol.runtime.loop import Loop

log = logging.getLogger(__name__)


class Ending:
    """What the signals of the end come to.

    The service's main calls close() when its loop has ended, finish() when all is closed.
    """

    def __init__(self, loop: Loop, stop: Callable[[], None], why_not: Callable[[], str]) -> None:
        """stop: ends the loop in good order, however often it is called. why_not: a sentence, if
        a service could not begin with what is configured now; else it is empty."""
        self._loop = loop
        self._stop = stop
        self._why_not = why_not
        self._again = self._over = False
        loop.on_end(self._end)
        if sdnotify.managed():
            loop.on_signal(signal.SIGHUP, self._begin_anew)

    @property
    def asked(self) -> bool:
        """Whether anybody asked for it: a service that ends by itself may have another life."""
        return self._over or self._again

    def close(self) -> None:
        """Take in what has come; a signal that comes later waits for finish() or release()."""
        self._loop.hold_signals()

    def release(self) -> None:
        """Have what has come since close() end this process: it does what may be ended."""
        self._loop.release_signals()

    def finish(self) -> None:
        """Become a new service, if that was asked for; else whoever called us goes on."""
        if not self._again:
            self._loop.drop_signals()
            return
        sys.stdout.flush()
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])

    def _end(self) -> None:
        self._again, self._over = False, True
        sdnotify.stopping()
        self._stop()

    def _begin_anew(self) -> None:
        if self._over:
            return
        why_not = self._why_not()
        if why_not:
            log.error("goes on as before: %s", why_not)
            sdnotify.status(f"not reloaded: {why_not}")
            return
        log.info("begins anew, with the configuration as it is now")
        self._again = True
        sdnotify.reloading()
        self._stop()
