# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Log lines of events that others cause, of which no client may cause more than a few."""

from __future__ import annotations

import logging

_WINDOW_S = 10.0
_LINES = 20
"""So many lines of a kind are written in each window; of the others only the number."""


class EventLog:
    """Writes a line per event, and collapses those of a kind that come too often.

    It belongs to one thread, which calls `flush` now and then.
    """

    def __init__(self, log: logging.Logger) -> None:
        """Write to `log`."""
        self._log = log
        self._windows: dict[str, _Window] = {}

    def add(self, kind: str, text: str, now_s: float, level: int = logging.WARNING) -> None:
        """Write an event, or count it.

        Args:
            kind: What sort of event it is, in words of this program's, never a client's.
            text: The line.
            now_s: Steady clock, s.
            level: Of the line.
        """
        self.flush(now_s)
        window = self._windows.get(kind)
        if window is None:
            window = self._windows[kind] = _Window(now_s + _WINDOW_S, level)
        window.count += 1
        if window.count <= _LINES:
            self._log.log(level, "%s", text)
        else:
            window.level = max(window.level, level)

    def flush(self, now_s: float) -> None:
        """Say how many events were counted only, where their window is over."""
        for kind in [kind for kind, window in self._windows.items() if now_s >= window.ends_s]:
            window = self._windows.pop(kind)
            if (more := window.count - _LINES) > 0:
                self._log.log(window.level, "%s: and %d more in %g s", kind, more, _WINDOW_S)


class _Window:
    __slots__ = ("count", "ends_s", "level")

    def __init__(self, ends_s: float, level: int) -> None:
        self.count, self.ends_s, self.level = 0, ends_s, level
