# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""SIGTERM and SIGHUP end a program of others as SIGINT does: so that the robot is left safe."""

from __future__ import annotations

import signal
import threading


class EndSignals:
    """Turns the signals into SystemExit, in the main thread; Python would end without a word.

    As KeyboardInterrupt does, it runs what LeRobot's commands have in `finally`, and what is
    registered at exit. Signals that somebody handles or ignores (nohup) stay theirs.
    """

    def __init__(self) -> None:
        """Handle them, if this is the main thread: others cannot."""
        self._holds_back, self._has_raised, self._came = False, False, 0
        self._numbers = [
            number
            for number in (signal.SIGTERM, signal.SIGHUP)
            if _is_main() and signal.getsignal(number) is signal.SIG_DFL
        ]
        for number in self._numbers:
            signal.signal(number, self._on_signal)

    def hold_back(self) -> None:
        """Let what follows end before signals do anything."""
        self._holds_back = True

    def give_back(self) -> None:
        """Handle them no more.

        Raises:
            SystemExit: One was held back.
        """
        for number in self._numbers if _is_main() else ():
            if signal.getsignal(number) == self._on_signal:
                signal.signal(number, signal.SIG_DFL)
        self._holds_back = False
        if self._came:
            raise SystemExit(128 + self._came)

    def _on_signal(self, number: int, _frame: object) -> None:
        if self._has_raised:
            return  # it would end what the first one began
        if self._holds_back:
            self._came = number
            return
        self._has_raised = True
        raise SystemExit(128 + number)


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()
