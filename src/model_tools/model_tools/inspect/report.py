# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What an inspection found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Rows of a table, and what a user should look at twice."""

    kind: str
    path: Path
    rows: list[tuple[str, str]] = field(default_factory=list)
    suspicions: list[str] = field(default_factory=list)

    def row(self, name: str, value: object) -> None:
        """Add a row."""
        self.rows.append((name, str(value)))

    def suspect(self, text: str) -> None:
        """Add something suspicious."""
        self.suspicions.append(text)
