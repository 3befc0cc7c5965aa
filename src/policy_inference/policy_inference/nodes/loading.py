# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Opens a policy beside the executor, and closes one beside it: both may take long, or for ever."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from rclpy.executors import Executor
from rclpy.impl.rcutils_logger import RcutilsLogger
from rclpy.task import Future

from policy_inference.errors import PolicyError, RefusedError
from policy_inference.nodes.opening import Opened

_CLOSED_WITHIN_S = 1.0


class Loading:
    """At most one policy that is being opened, and those that are being closed."""

    def __init__(self, logger: RcutilsLogger) -> None:
        """Open nothing yet."""
        self._logger = logger
        self._thread: threading.Thread | None = None
        self._future: Any = None
        self._closing = list[threading.Thread]()
        # Either the one who asked gets what was opened, or it is closed again.
        self._handing_over = threading.Lock()

    @property
    def busy(self) -> bool:
        """Whether a policy is being opened, be it for somebody who no longer wants it."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def left_behind(self) -> bool:
        """Whether something is still being opened or closed."""
        return self.busy or any(thread.is_alive() for thread in self._closing)

    def begin(self, open_one: Callable[[], Opened], executor: Executor) -> Future:
        """Open a policy on a thread of its own.

        Args:
            open_one: Opens it; raises a PolicyError where it cannot.
            executor: Goes on with the coroutine that awaits the result.

        Returns:
            A future of the policy, or of the PolicyError that says why there is none: to be awaited
            by one who then owns the policy.

        Raises:
            RefusedError: One is being opened already.
        """
        if self.busy:
            raise RefusedError("load refused: another load has not ended yet; wait for its answer")
        self._future = Future(executor=executor)
        # This is what wakes the executor.
        self._future.add_done_callback(_nothing)
        self._thread = threading.Thread(target=self._open, args=(open_one, self._future),
                                        name="load", daemon=True)
        self._thread.start()
        return self._future

    def abandon(self, reason: str) -> None:
        """Answer the one who awaits a policy that it gets none; what opens then is closed again."""
        with self._handing_over:
            if self._future is not None and not self._future.done():
                self._future.set_result(RefusedError(f"load abandoned: {reason}"))

    def close(self, *closers: Callable[[], object]) -> None:
        """Call one after the other on a thread of its own, which may hang."""
        self._closing = [thread for thread in self._closing if thread.is_alive()]
        thread = threading.Thread(target=_call, args=closers, name="close", daemon=True)
        self._closing.append(thread)
        thread.start()

    def end(self) -> None:
        """Wait a moment for what is being closed; what hangs is left behind."""
        ends_s = time.monotonic() + _CLOSED_WITHIN_S
        for thread in self._closing:
            thread.join(max(0.0, ends_s - time.monotonic()))

    def _open(self, open_one: Callable[[], Opened], future: Any) -> None:
        found: Opened | PolicyError
        try:
            found = open_one()
        except PolicyError as error:
            found = error
        except BaseException as error:  # noqa: BLE001  a bundle's fault or ours: the old one runs
            self._logger.error(traceback.format_exc())
            found = RefusedError(f"load failed: {type(error).__name__}: {error}; the log has the "
                                 "traceback")
        with self._handing_over:
            wanted = not future.done()
            if wanted:
                future.set_result(found)
        if not wanted and isinstance(found, Opened):
            found.close()


def _call(*closers: Callable[[], object]) -> None:
    for close in closers:
        close()


def _nothing(_: object) -> None:
    """Do nothing."""
