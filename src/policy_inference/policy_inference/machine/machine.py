# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A machine's drivers, clocks, sensors and Python packages, and findings about it."""

from __future__ import annotations

import importlib.util
import math
import os
import re
import sys
from dataclasses import dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path


class Severity(str, Enum):
    """What a finding means for running a policy."""

    OK = "ok"
    WARNING = "warning"
    """The policy runs, but with limitations."""
    ERROR = "error"
    """The policy does not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Result of one check."""

    name: str
    """Name of the checked item, such as ``librknnrt.so``."""
    found: str
    """Result, with versions and units."""
    severity: Severity = Severity.OK
    remedy: str = ""
    """Expectation and remedy; empty if there is no problem."""

    @classmethod
    def warning(cls, name: str, found: str, remedy: str) -> Finding:
        """Return a finding for something that runs, but with limitations."""
        return cls(name=name, found=found, severity=Severity.WARNING, remedy=remedy)

    @classmethod
    def error(cls, name: str, found: str, remedy: str) -> Finding:
        """Return a finding for something that does not run."""
        return cls(name=name, found=found, severity=Severity.ERROR, remedy=remedy)


class Machine:
    """The files under one root, which is `/` except in tests."""

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        self._found: dict[str, list[Path]] = {}

    def path(self, path: str) -> Path:
        """Return an absolute path under the root."""
        return self.root / path.lstrip("/")

    def glob(self, pattern: str) -> list[Path]:
        """Return the files that match an absolute pattern, sorted.

        The result is cached, since driver files do not change and nodes read them repeatedly for
        their status.
        """
        if pattern not in self._found:
            self._found[pattern] = sorted(self.root.glob(pattern.lstrip("/")))
        return self._found[pattern]

    def exists(self, path: str) -> bool:
        """Return True if something exists at a path, even if it is unreadable."""
        return os.path.lexists(self.path(path))

    def may_use(self, file: Path) -> bool:
        """Return True if this user may open a device file for reading and writing."""
        return os.access(file, os.R_OK | os.W_OK)

    def text(self, path: str | Path) -> str | None:
        """Return the content of a file, stripped; None if it is missing or unreadable.

        Device tree texts end with NUL, which is removed.
        """
        file = self.path(path) if isinstance(path, str) else path
        try:
            return file.read_bytes().decode("utf-8", "replace").strip("\0 \n\t")
        except OSError:
            return None

    def cpu_model(self) -> str | None:
        """Return the processor's name; None if it reports none, as on ARM."""
        found = re.search(r"^model name\s*: (.*)$", self.text("/proc/cpuinfo") or "", re.MULTILINE)
        return found[1] if found else None

    def cpu_flags(self) -> frozenset[str]:
        """Return the processor's features, as Linux names them on x86 (`avx2`); empty elsewhere."""
        lines = (self.text("/proc/cpuinfo") or "").splitlines()
        flags = next((line for line in lines if line.startswith("flags")), "")
        return frozenset(flags.partition(":")[2].split())

    def number(self, path: str | Path) -> float | None:
        """Return the number in a file, or None."""
        return number_in(self.text(path) or "")


def number_in(text: str) -> float | None:
    """Return the finite number in a text, or None."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def module_found(name: str) -> bool:
    """Return True if a top-level module's files exist, without importing it."""
    return sys.modules.get(name) is not None or importlib.util.find_spec(name) is not None


def installed_version(*distributions: str) -> str | None:
    """Return the version of the first of these distributions that is installed."""
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def parse_version(text: str) -> tuple[int, ...]:
    """Return the numbers of the first version in a text: (2, 5, 0) for `rknn-toolkit2 2.5.0`.

    Empty if there is none.
    """
    found = re.search(r"(?<![\w.])v?([0-9]{1,9}(?:\.[0-9]{1,9})+)(?![0-9])", text)
    return tuple(map(int, found[1].split("."))) if found else ()
