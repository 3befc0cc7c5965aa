# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The report of a conversion, by episode."""

from __future__ import annotations

from pathlib import Path

from lerobot_bridge.converting.convert import Conversion
from lerobot_bridge.converting.report import conversion_report
from lerobot_bridge.episode import Episode
from policy_store.report import Note, Tone

from ..bags import arm_mapping


def test_the_report_has_warnings_and_what_was_left_out() -> None:
    made = {
        "parts": [["part_000", 20], ["part_001", 10]],
        "too_short": 0,
        "closed_up": 0,
        "left_out": [],
        "warnings": ["values <>", "repeated"],
    }
    found = Conversion(
        made=[(Episode(bag=Path("one"), task="wave"), made)],
        refused=[(Episode(bag=Path("two"), task="wave"), "two publishers")],
    )

    report = conversion_report("cubes", found, arm_mapping(), {})

    assert [each["frames"] for each in report.document["episodes"]] == [20, 10]
    notes = [part for part in report.parts if isinstance(part, Note)]
    assert [note.verdict.tone for note in notes] == [Tone.WARN, Tone.WARN, Tone.BAD]
