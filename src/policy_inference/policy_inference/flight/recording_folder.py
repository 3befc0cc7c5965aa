# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The folder of recordings: free space, and unique names."""

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
    """Return the name of a recording that begins now: bundle, time (UTC), cause."""
    now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return re.sub(r"[^\w.-]+", "_", f"{bundle_name}-{now}-{cause}").lstrip(".")


class RecordingFolder:
    """A folder for the recordings of one flight; only `place` does not access the disk."""

    def __init__(
        self, folder: Path, min_free_mb: float, types: Callable[[], Typestore], flight: Flight
    ) -> None:
        """Store the settings; no disk access or imports yet.

        Args:
            folder: Folder of the recordings; created if missing.
            min_free_mb: Minimum free space for a recording, MB.
            types: Returns the result of `message_types`, the same each time.
            flight: Description of the ticks.
        """
        self.folder = folder
        self._min_free_mb, self._types, self._flight = min_free_mb, types, flight
        self._promised: set[Path] = set()

    def load(self) -> None:
        """Import the modules that write recordings, which takes 0.1 s: before the first tick.

        Between ticks, the import would hold the GIL against the control thread.
        """
        import policy_inference.flight.recording  # noqa: F401  for `open`

        self._types()

    def problem(self) -> str:
        """Return why no recording can be written now; empty if one can."""
        folder = self.folder
        try:
            # On a disk that does not accept writes, `mkdir` waits even if the folder exists.
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
        """Return the place of a recording that begins now; cause: a word for its name.

        The disk is not accessed: if something already exists there, a number is appended when the
        recording ends.
        """
        name = recording_name(self._flight.bundle.contract.name, cause)
        names = (name if i == 1 else f"{name}-{i}" for i in count(1))
        place = next(place for each in names if (place := self.folder / each) not in self._promised)
        self._promised.add(place)
        return place

    def open(self, place: Path, reason: str) -> Recording:
        """Begin a recording.

        Args:
            place: Its final place.
            reason: Reason for the recording, in words.
        """
        from policy_inference.flight.recording import Recording

        return Recording(place, self._types(), self._flight, reason)
