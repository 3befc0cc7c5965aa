# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a recording of the flight recorder is about, beside what every recording shows."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from model_tools.bags.bag import Bag
from model_tools.inspect.report import Report
from model_tools.replaying.recording import TICK, FlightRecording
from policy_inference.interfaces import Mode

_SHOWN = 10


def describe(path: Path, bag: Bag, report: Report) -> None:
    """Add rows on the policy, why it was recorded, and its modes, where it is such a recording.

    Raises:
        ToolError: It is one, and is broken.
    """
    if not any(topic.type == TICK for topic in bag.topics.values()):
        return
    recording = FlightRecording(path)
    info, modes = recording.info, list(recording.modes())
    report.row("flight of", f"{info.policy} on {info.backend}, {info.host}")
    report.row("bundle", f"{info.bundle}, SHA-256 {info.bundle_sha256[:16]}...")
    report.row("recorded because", info.reason)
    seconds = (modes[-1].time_ns - modes[0].time_ns) * 1e-9
    counts = Counter(entry.mode for entry in modes)
    report.row("ticks", f"{len(modes)} in {seconds:.2f} s: "
               + ", ".join(f"{mode.name} {counts[mode]}" for mode in Mode if counts[mode]))
    changes = [entry for entry in modes if entry.reason]
    for entry in changes[-_SHOWN:]:
        at_s = (entry.time_ns - modes[0].time_ns) * 1e-9
        report.row(f"at {at_s:.3f} s", f"{entry.mode.name}: {entry.reason}")
    lost = modes[-1].number - modes[0].number + 1 - len(modes)
    if lost:
        report.suspect(f"{lost} ticks are not in the recording")
