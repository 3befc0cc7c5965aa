# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What an examination found, and what is to be done."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


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
