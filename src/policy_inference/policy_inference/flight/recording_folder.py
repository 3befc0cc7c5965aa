# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Where recordings go: a folder that has room, and names that nothing else has."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from policy_inference.flight.description import Flight

if TYPE_CHECKING:  # see `RecordingFolder.load`
    from rosbags.typesys.store import Typestore

    from policy_inference.flight.recording import Recording


def recording_name(bundle_name: str, cause: str) -> str:
    """Return what a recording that begins now is called: bundle, time (UTC), cause."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return re.sub(r"[^\w.-]+", "_", f"{bundle_name}-{now}-{cause}").lstrip(".")


class RecordingFolder:
    """A folder for the recordings of one flight; only `place` leaves the disk alone."""

    def __init__(
        self, folder: Path, min_free_mb: float, types: Callable[[], Typestore], flight: Flight
    ) -> None:
        """Look at nothing yet, import nothing yet.

        Args:
            folder: Where recordings go; made where it is missing.
            min_free_mb: Nothing is begun where less is free, MB.
            types: Gives what `message_types` gave, the same each time.
            flight: What ticks are of.
        """
        self.folder = folder
        self._min_free_mb, self._types, self._flight = min_free_mb, types, flight
        self._promised: set[Path] = set()

    def load(self) -> None:
        """Import what writes recordings, which takes 0.1 s: before the first tick.

        Between ticks it would keep the interpreter from the control thread.
        """
        import policy_inference.flight.recording  # noqa: F401  for `open`

        self._types()

    def problem(self) -> str:
        """Return why no recording can be written now; empty where one can."""
        folder = self.folder
        try:
            # A disk that takes no writing lets `mkdir` wait even where the folder is there.
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)
            free_mb = shutil.disk_usage(folder).free * 1e-6
        except OSError as error:
            return f"{folder}: cannot be written ({error.strerror}); set flight.folder"
        if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
            return (
                f"{folder}: expected a folder that this user may write to, found "
                "one of another user; set flight.folder"
            )
        if free_mb < self._min_free_mb:
            return (
                f"{folder}: expected {self._min_free_mb:g} MB of free space, found "
                f"{free_mb:.0f}; move recordings away, or set flight.folder or "
                "flight.min_free_mb"
            )
        return ""

    def place(self, cause: str) -> Path:
        """Return where a recording that begins now is to be; cause: a word for its name.

        The disk is not looked at: where something is there already, the recording that ends puts a
        number behind the name.
        """
        name = recording_name(self._flight.bundle.contract.name, cause)
        names = (name if i == 1 else f"{name}-{i}" for i in count(1))
        place = next(place for each in names if (place := self.folder / each) not in self._promised)
        self._promised.add(place)
        return place

    def open(self, place: Path, reason: str) -> Recording:
        """Begin a recording.

        Args:
            place: Where it will be.
            reason: Why, for a person.
        """
        from policy_inference.flight.recording import Recording

        return Recording(place, self._types(), self._flight, reason)
