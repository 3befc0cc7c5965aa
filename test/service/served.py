# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command `policy_inference serve` as a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "config" / "bundles" / "lite3_walk"
OBS_DIM, ACT_DIM = 45, 12
_WITHIN_S = 60.0


class Served:
    """A service that runs; what it logs is kept."""

    def __init__(self, *arguments: str) -> None:
        """Start it, and return when it is ready or has ended."""
        self.lines = list[str]()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "policy_inference.commands.main", "serve", *arguments],
            stderr=subprocess.PIPE,
            text=True,
        )
        self._decided = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        if not self._decided.wait(_WITHIN_S):
            self.end(signal.SIGKILL)
            raise TimeoutError(f"not ready within {_WITHIN_S:g} s: {self.log}")

    @property
    def log(self) -> str:
        """What it has logged so far; whole after `end`."""
        return "\n".join(self.lines)

    @property
    def process_id(self) -> int:
        return self._process.pid

    def end(self, by: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, unless it has ended; return the exit status."""
        if self._process.poll() is None:
            self._process.send_signal(by)
        try:
            status = self._process.wait(_WITHIN_S)
        finally:
            self._process.kill()
        self._reader.join()
        return status

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as stream:
            for line in stream:
                self.lines.append(line.rstrip())
                if line.startswith("ready"):
                    self._decided.set()
        self._decided.set()


@contextmanager
def served(*arguments: str) -> Iterator[Served]:
    service = Served("--bundle", str(BUNDLE), *arguments)
    try:
        yield service
    finally:
        service.end()
