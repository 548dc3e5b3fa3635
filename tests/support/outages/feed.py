"""A sensor program that brings rows to a device's service while its power comes and goes."""

import secrets
import threading
import time
from pathlib import Path
from random import Random

from fedling_agent.service.control import Client, Json, RequestFailed, Unavailable
from fedling_agent.store.store import Store

STREAM, LABELS = "wrist", 3
PAUSE_S, AGAIN_S = 0.5, 0.02
PIECE = 4  # rows
ANSWER_S, LATE_S = 10.0, 20.0


class Feed:
    """One piece after another; one that had no answer is repeated under its name.

    What was answered is stored, and stored once.
    """

    def __init__(self, state: Path) -> None:
        self._state = state
        self._before = self._on_disk()
        self._dice = Random(1)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._bring)
        self._answered = 0  # rows that were said to be stored, or to be there already

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """No row comes any more. The service runs, or was ended for good."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def wrong(self) -> str:
        """What is wrong with what is stored; empty: nothing. The service has ended."""
        wanted, found = self._before + self._answered, self._on_disk()
        return "" if wanted == found else f"{found} rows, after {wanted} were said to be stored"

    @property
    def answered(self) -> int:
        return self._answered

    def _bring(self) -> None:
        number = 0
        while not self._over.wait(PAUSE_S):
            self._bring_piece(self._piece(number))
            number += 1

    def _bring_piece(self, request: Json) -> None:
        """Until it was answered; not for ever, where the federation has failed."""
        late = time.monotonic() + LATE_S  # a person would give up, too
        while time.monotonic() < late:  # the service may be down at any instant
            try:
                with Client(self._state, ANSWER_S) as client:
                    told = client.ask(request)
                self._answered += int(str(told["stored"])) + int(str(told["seen"]))
                return
            except (Unavailable, RequestFailed):  # the disk is full
                time.sleep(AGAIN_S)

    def _piece(self, number: int) -> Json:
        kind = number // 10 % LABELS
        lines = ["recording,label,x,y\n"]
        for _ in range(PIECE):
            x, y = self._dice.gauss(3 * kind, 1), self._dice.gauss(-2 * kind, 1)
            lines.append(f"fed{number // 10},label {kind},{x:.2f},{y:.2f}\n")
        about = {"stream": STREAM, "form": "csv", "before": 0, "input": secrets.token_hex(16)}
        return {"do": "ingest", "lines": lines, **about}

    def _on_disk(self) -> int:
        store = Store(self._state, read_only=True)
        try:
            return store.recordings.summary()[STREAM].samples
        finally:
            store.close()
