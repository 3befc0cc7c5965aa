# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Files of a machine: kernel drivers, clocks, sensors."""

from __future__ import annotations

import os
from pathlib import Path

from policy_inference.machine.numbers import number_in


class Machine:
    """The files under one root, which is another folder than `/` only in tests."""

    def __init__(self, root: Path = Path("/")) -> None:
        """Read nothing yet."""
        self.root = root
        self._found: dict[str, list[Path]] = {}

    def path(self, path: str) -> Path:
        """Return where an absolute path lies under the root."""
        return self.root / path.lstrip("/")

    def glob(self, pattern: str) -> list[Path]:
        """Return the files that match an absolute pattern, sorted.

        Looked for once: what drivers bring stays, and a node's status asks again and again.
        """
        if pattern not in self._found:
            self._found[pattern] = sorted(self.root.glob(pattern.lstrip("/")))
        return self._found[pattern]

    def exists(self, path: str) -> bool:
        """Whether something is there, also where it may not be read."""
        return os.path.lexists(self.path(path))

    def may_use(self, file: Path) -> bool:
        """Whether this user may open a device file for reading and writing."""
        return os.access(file, os.R_OK | os.W_OK)

    def text(self, path: str | Path) -> str | None:
        """Return what a file holds, stripped; None where it is absent or may not be read.

        Device trees end their texts with a NUL, which is dropped.
        """
        file = self.path(path) if isinstance(path, str) else path
        try:
            return file.read_bytes().decode("utf-8", "replace").strip("\0 \n\t")
        except OSError:
            return None

    def cpu_flags(self) -> frozenset[str]:
        """Return the processor's features as Linux names them on x86, such as `avx2`; else none."""
        lines = (self.text("/proc/cpuinfo") or "").splitlines()
        flags = next((line for line in lines if line.startswith("flags")), "")
        return frozenset(flags.partition(":")[2].split())

    def number(self, path: str | Path) -> float | None:
        """Return the number that a file holds; None where it holds none."""
        return number_in(self.text(path) or "")
