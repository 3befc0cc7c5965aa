# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Telemetry on a thread of its own: a driver's file that hangs must hold up nothing else."""

import threading
import time
from collections.abc import Callable, Mapping

from policy_inference.machine.telemetry import read_safely

_SILENT_S = 3.0
"""A read that takes so long is reported; those of a healthy device take milliseconds."""
_LEAVE_WITHIN_S = 0.2


class TelemetryReader:
    """Reads whenever it is looked at, on a thread of its own that may hang."""

    def __init__(self, sources: Mapping[str, Callable[[], Mapping[str, str]]]) -> None:
        """Start the thread, which waits to be asked.

        Args:
            sources: What reads values, by what it is called in messages.
        """
        self._sources = sources
        self._asked, self._closed = threading.Event(), False
        self._waiting_since_s: float | None = None
        self._newest: tuple[dict[str, str], list[str]] = {}, []
        self._told = list[str]()
        self._thread = threading.Thread(target=self._serve, name="telemetry", daemon=True)
        self._thread.start()

    def look(self) -> tuple[dict[str, str], list[str]]:
        """Return the newest values and what is wrong with them, and ask for newer ones.

        There are no values where they are not answered for some seconds. What the last look told
        already is not told again. Never blocks.
        """
        found, problems = self._look()
        new = [text for text in problems if text not in self._told]
        self._told = problems
        return found, new

    def _look(self) -> tuple[dict[str, str], list[str]]:
        now_s, since_s = time.monotonic(), self._waiting_since_s
        if since_s is None:
            self._waiting_since_s = now_s
            self._asked.set()
        elif now_s - since_s > _SILENT_S:
            return {}, [f"telemetry: no answer for more than {_SILENT_S:g} s; a driver hangs"]
        return self._newest

    def forget(self) -> None:
        """Forget what was read so far."""
        self._newest = {}, []

    def close(self) -> None:
        """End the thread; one that hangs is left behind."""
        self._closed = True
        self._asked.set()
        self._thread.join(_LEAVE_WITHIN_S)

    def _serve(self) -> None:
        while self._asked.wait() and not self._closed:
            self._asked.clear()
            self._newest = self._read()
            self._waiting_since_s = None

    def _read(self) -> tuple[dict[str, str], list[str]]:
        found: dict[str, str] = {}
        problems = []
        for name, read in self._sources.items():
            values, wrong = read_safely(read)
            found |= values
            if wrong:
                problems.append(f"{name}: telemetry: {wrong}")
        return found, problems
