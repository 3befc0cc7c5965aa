# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Records the events of a trial on a separate thread, so that a slow disk delays no tick."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from queue import Queue

from policy_core.errors import RefusedError
from policy_store.trial_record import (
    TrialEvent,
    VersionTrial,
    begin_run,
    show_presence,
)

_BEGUN_WITHIN_S = 0.5
"""A longer wait would block an e-stop."""
_AGAIN_AFTER_S = 1.0
_LEAVE_WITHIN_S = 1.0
_REMEDY = (
    "let the node's user write it (`policy_store activate ... --trial ... --node-user USER`), and "
    "make room on the disk"
)


class TrialWriter:
    """Writes one event after another, and retries failed writes.

    Attributes:
        problem: Reason why the newest event is not yet on disk; empty if it is.
    """

    def __init__(self) -> None:
        self._jobs: Queue[Callable[[], None] | None] = Queue()
        self._closed = threading.Event()
        self._presence: int | None = None
        self.problem = ""
        self._thread = threading.Thread(target=self._serve, name="trial", daemon=True)
        self._thread.start()

    @property
    def is_idle(self) -> bool:
        return self._jobs.unfinished_tasks == 0

    @property
    def left_behind(self) -> bool:
        """True if its thread hangs in the disk and could not be stopped; after `close`."""
        return self._closed.is_set() and self._thread.is_alive()

    def put(self, trial: VersionTrial, event: TrialEvent, **values: object) -> None:
        """Queue an event for writing; never blocks."""
        self._jobs.put(lambda: trial.append(event, **values))

    def begin_run(self, trial: VersionTrial) -> None:
        """Record that RUN begins, and wait until that is on disk."""
        done, found = threading.Event(), list[OSError]()

        def write() -> None:
            try:
                if self._presence is None:
                    self._presence = show_presence(trial.file)
                begin_run(trial)
            except OSError as error:
                found.append(error)
            done.set()

        self._jobs.put(write)
        if done.wait(_BEGUN_WITHIN_S) and not found:
            return
        if not done.is_set():
            self.put(trial, TrialEvent.RUN_ENDED)
        why = found[0].strerror if found else f"no answer within {_BEGUN_WITHIN_S:g} s"
        raise RefusedError(
            f"RUN refused: {trial.file}: expected a record of the trial that can be written, "
            f"found: {why}; {_REMEDY}"
        )

    def close(self) -> None:
        self._jobs.put(None)
        self._thread.join(_LEAVE_WITHIN_S)
        self._closed.set()
        if self._presence is not None and not self._thread.is_alive():
            os.close(self._presence)
            self._presence = None

    def _serve(self) -> None:
        while (write := self._jobs.get()) is not None:
            while not self._succeeds(write):
                if self._closed.wait(_AGAIN_AFTER_S):
                    return
            self._jobs.task_done()

    def _succeeds(self, write: Callable[[], None]) -> bool:
        try:
            write()
        except OSError as error:
            self.problem = f"{error.filename or 'record of the trial'}: {error.strerror}; {_REMEDY}"
            return False
        self.problem = ""
        return True
