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
    """What the signals of the end come to. The service's main calls finish() when all is closed."""

    def __init__(self, loop: Loop, stop: Callable[[], None], why_not: Callable[[], str]) -> None:
        """stop: ends the loop in good order, however often it is called. why_not: a sentence, if
        a service could not begin with what is configured now; else it is empty."""
        self._stop = stop
        self._why_not = why_not
        self._again = self._over = False
        loop.on_end(self._end)
        if sdnotify.managed():
            loop.on_signal(signal.SIGHUP, self._begin_anew)

    def finish(self) -> None:
        """Become a new service, if that was asked for; a signal that comes meanwhile waits."""
        if not self._again:
            return
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP, signal.SIGTERM, signal.SIGINT})
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
