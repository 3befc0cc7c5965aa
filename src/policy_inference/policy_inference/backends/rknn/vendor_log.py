# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Messages from the vendor's runtime, which on failure returns -1 and logs the reason."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from policy_inference.backends.native_output import capture_native_output

LOGGER = "acuityLogger"
_GREETING = "rknn-toolkit-lite2 version"
_KEPT, _SIZE = 20, 4000


class VendorLog(logging.Handler):
    """Keeps the last messages from the vendor's logger."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._log = logging.getLogger(LOGGER)
        self._records = deque[str](maxlen=_KEPT)
        self.native = ""
        """Text that the library printed within `captured`."""
        self._log.addHandler(self)

    @property
    def text(self) -> str:
        """The full text, with each line once, since logged lines may also have been printed."""
        logged = [line for record in self._records for line in record.splitlines() if line.strip()]
        printed = [
            line
            for line in self.native.splitlines()
            if not line.startswith(_GREETING) and not any(known in line for known in logged)
        ]
        return "\n".join([*logged, *printed]).strip()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a message, unless it is the logger's greeting."""
        if not (text := record.getMessage()).startswith(_GREETING):
            self._records.append(text)

    def forget(self) -> None:
        """Discard what was logged and printed."""
        self._records.clear()
        self.native = ""

    @contextmanager
    def captured(self) -> Iterator[None]:
        """Capture the output of the library, which has no logger."""
        with capture_native_output("rknn") as printed:
            try:
                yield
            finally:
                self.native = printed()[-_SIZE:]

    def stop(self) -> None:
        self._log.removeHandler(self)
