# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Options of LeRobot's commands that versions call differently, by the table in docs/lerobot.md."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from lerobot.scripts.lerobot_record import RecordConfig

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "lerobot.md").read_text(encoding="utf-8")
RECORDS_POLICIES = "policy" in {field.name for field in fields(RecordConfig)}
"""Whether `lerobot-record` does; since 0.6 `lerobot-rollout` runs policies."""


def renamed() -> dict[str, str]:
    """Return what takes the place of options of 0.4.4 in this LeRobot."""
    rows = GUIDE.split("\n### Versions\n")[1].partition("\n## ")[0]
    found = re.findall(r"^\| `(--[^`]*)` \| `(--[^`]*)` \|", rows, re.MULTILINE)
    return {} if RECORDS_POLICIES else dict(found)


def as_this_version_has_it(words: list[str]) -> list[str]:
    """Return options, written for 0.4.4, by their names in this LeRobot."""
    names = renamed()
    return [
        names.get(name, name) + equals + value
        for name, equals, value in (word.partition("=") for word in words)
    ]
