# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A recording on disk: a rosbag2 folder with one mcap file, written atomically."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from policy_inference.bag_file import BagFile, sync
from policy_inference.flight.description import Flight
from policy_inference.flight.ring import FlightTick
from policy_inference.flight.tick_messages import Entry, TickMessages

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

UNFINISHED = ".unfinished-"
"""Prefix of the folder in which a recording grows."""


def free_place(folder: Path, name: str) -> Path:
    """Return a free path with this name, followed by a number if necessary."""
    places = (folder / (name if i == 1 else f"{name}-{i}") for i in count(1))
    return next(place for place in places if not os.path.lexists(place))


class Recording:
    """A recording that grows in a hidden folder beside its place, and is moved there at its end.

    As a context manager it ends like this, or is discarded on an exception.
    """

    def __init__(self, place: Path, types: Typestore, flight: Flight, reason: str) -> None:
        """Begin a recording.

        Args:
            place: The final folder; its parent is created if missing.
            types: Result of `message_types`.
            flight: Description of its ticks.
            reason: Reason for the recording, in words.
        """
        place.parent.mkdir(parents=True, exist_ok=True)
        self.place = place
        """Its final place."""
        self._namespace = flight.namespace.rstrip("/")
        self._messages, self._reason = TickMessages(types, flight), reason
        self._growing = Path(
            tempfile.mkdtemp(prefix=f"{UNFINISHED}{place.name}-", dir=place.parent)
        )
        self.ticks = 0
        """Number of ticks in it."""
        try:
            self._bag = BagFile(self._growing / place.name, types)
        except BaseException:
            shutil.rmtree(self._growing, ignore_errors=True)
            raise

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.finish()
        else:
            self.discard()

    def add(self, ticks: Iterable[FlightTick]) -> None:
        for tick in ticks:
            log_ns = tick.moment.stamp_ns
            if not self.ticks:
                self._write(self._messages.info(self._reason), log_ns)
            for entry in self._messages.of(tick):
                self._write(entry, log_ns)
            self.ticks += 1

    def finish(self) -> Path:
        """End the recording and move it to its place; return that place.

        If something was created there meanwhile, a number is appended to the name.
        """
        try:
            self._bag.finish()
            self.place = self._move()
        except BaseException:
            self.discard()
            raise
        self._growing.rmdir()
        sync(self.place.parent)
        return self.place

    def _move(self) -> Path:
        while True:
            place = free_place(self.place.parent, self.place.name)
            try:
                # Never replaces anything: it fails for a folder that contains files.
                return self._bag.folder.rename(place)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise

    def discard(self) -> None:
        self._bag.abort()
        shutil.rmtree(self._growing, ignore_errors=True)

    def _write(self, entry: Entry, log_ns: int) -> None:
        self._bag.write(f"{self._namespace}/{entry.topic}", entry.type, log_ns, entry.data)
