# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a machine has (drivers, clocks, sensors, Python packages), and findings about it."""

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
    """It runs, but not as it should."""
    ERROR = "error"
    """It does not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    name: str
    """What it is, such as ``librknnrt.so``."""
    found: str
    """What was found, with versions and units."""
    severity: Severity = Severity.OK
    remedy: str = ""
    """What was expected and what to do; empty where all is well."""

    @classmethod
    def warning(cls, name: str, found: str, remedy: str) -> Finding:
        """Return one of something that runs, but not as it should."""
        return cls(name=name, found=found, severity=Severity.WARNING, remedy=remedy)

    @classmethod
    def error(cls, name: str, found: str, remedy: str) -> Finding:
        """Return one of something that does not run."""
        return cls(name=name, found=found, severity=Severity.ERROR, remedy=remedy)


class Machine:
    """The files under one root, which is another folder than `/` only in tests."""

    def __init__(self, root: Path = Path("/")) -> None:
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

    def cpu_model(self) -> str | None:
        """Return the processor's name; None on a kind that reports none, as ARM."""
        found = re.search(r"^model name\s*: (.*)$", self.text("/proc/cpuinfo") or "", re.MULTILINE)
        return found[1] if found else None

    def cpu_flags(self) -> frozenset[str]:
        """Return the processor's features as Linux names them on x86, such as `avx2`; else none."""
        lines = (self.text("/proc/cpuinfo") or "").splitlines()
        flags = next((line for line in lines if line.startswith("flags")), "")
        return frozenset(flags.partition(":")[2].split())

    def number(self, path: str | Path) -> float | None:
        """Return the number that a file holds; None where it holds none."""
        return number_in(self.text(path) or "")


def number_in(text: str) -> float | None:
    """Return the finite number that a text from elsewhere states; None where it states none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def module_found(name: str) -> bool:
    """Whether the files of a top-level module are there; it is not imported."""
    return sys.modules.get(name) is not None or importlib.util.find_spec(name) is not None


def installed_version(*distributions: str) -> str | None:
    """Return the version of the first of some distributions that is installed."""
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def parse_version(text: str) -> tuple[int, ...]:
    """Return the numbers of the first version in a text: (2, 5, 0) of `rknn-toolkit2 2.5.0`.

    Empty where there is none.
    """
    found = re.search(r"(?<![\w.])v?([0-9]{1,9}(?:\.[0-9]{1,9})+)(?![0-9])", text)
    return tuple(map(int, found[1].split("."))) if found else ()
