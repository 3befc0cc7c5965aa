# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The control thread: wait for a tick, run it, and never die without a fault command."""

import gc
import threading
from collections.abc import Callable

from policy_inference.nodes.pacing import Pacer, Tick


class ControlLoop:
    """Runs `tick` whenever the pacer says so, on a thread of its own."""

    def __init__(
        self, pacer: Pacer, tick: Callable[[Tick], None], failed: Callable[[Exception], None]
    ) -> None:
        """Prepare; `failed` is called on the control thread for an error that `tick` raised."""
        self._pacer, self._tick, self._failed = pacer, tick, failed
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.ticks = 0
        self.missed = 0

    def start(self) -> None:
        """Start ticking, with the first deadline now."""
        self.ticks = self.missed = 0
        self._stop.clear()
        self._pacer.start()
        # What exists now lives as long as the node: the collector need not walk through it.
        gc.collect()
        gc.freeze()
        self._thread = threading.Thread(target=self._loop, name="control", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> bool:
        """Stop ticking; return False where a tick hangs, so that its thread cannot be ended."""
        self._stop.set()
        gc.unfreeze()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _loop(self) -> None:
        while not self._stop.is_set():
            tick = self._pacer.wait()
            if tick is None:
                continue
            self.ticks += 1
            self.missed += tick.missed
            try:
                self._tick(tick)
            except Exception as error:  # noqa: BLE001  whatever it is, the robot must be told
                self._failed(error)
