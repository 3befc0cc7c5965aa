# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A recording of a robot: its topics, and what of them could not be fed to a policy."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from model_tools.bags.bag import Bag, is_bag, storage_files
from model_tools.bags.topics import is_named
from model_tools.inspect.bag_stream import CHECKS, INPUTS, Stream, read_stream
from model_tools.inspect.flight import describe
from model_tools.inspect.report import Report

KIND = "rosbag2 recording"
_LONG_GAP = 5.0
"""Times the usual distance of two messages."""
_FEW_IN_BURSTS = 0.3
_CLOCKS_AGREE_S = 1.0
_FIRST_DATE_S = 1e9


def recognise(path: Path) -> bool:
    """Return whether it is a storage file, or a folder with one or with its metadata."""
    return is_bag(path)


def inspect(path: Path) -> Report:
    """Return what was recorded; messages are read only of types that are inputs of policies.

    Raises:
        ToolError: The recording is broken.
    """
    bag, report = Bag(path), Report(kind=KIND, path=path)
    files = storage_files(path)
    size_mb = sum(file.stat().st_size for file in files) * 1e-6
    report.row("storage", f"{bag.storage}, {size_mb:.1f} MB in "
               f"{', '.join(file.name for file in files)}")
    report.row("recorded", f"{bag.duration_ns * 1e-9:.3f} s from {_time(bag.start_ns * 1e-9)}")
    describe(path, bag, report)
    for name, topic in sorted(bag.topics.items()):
        rate_hz = max(0, topic.count - 1) / max(bag.duration_ns * 1e-9, 1e-9)
        report.row(name, f"{topic.type}, {topic.count} messages, {rate_hz:.1f} Hz")
        if topic.type in CHECKS and topic.count:
            stream = read_stream(bag, name)
            _describe(name, stream, report)
            if len(stream.times_ns) != topic.count:
                report.suspect(f"{name}: {len(stream.times_ns)} messages, where the recording "
                               f"says {topic.count}")
            _suspect(name, stream, report)
    _suspect_names(bag, report)
    return report


def _time(seconds: float) -> str:
    """Return a date, or the seconds of a clock that does not count from 1970."""
    if seconds < _FIRST_DATE_S:
        return f"{seconds:.3f} s"
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(" ", "seconds")


def _describe(name: str, stream: Stream, report: Report) -> None:
    if stream.frames:
        report.row(f"{name} frame", ", ".join(sorted(stream.frames)))
    for joints in sorted(stream.joints):
        report.row(f"{name} {len(joints)} joints", ", ".join(joints))


def _suspect(name: str, stream: Stream, report: Report) -> None:
    count = len(stream.times_ns)
    for problem, times in stream.problems.items():
        report.suspect(f"{name}: {problem} in {times} of {count} messages")
    if len(stream.joints) > 1:
        report.suspect(f"{name}: {len(stream.joints)} lists of joints, as from several publishers")
    _suspect_gap(name, stream, report)
    if (share := stream.in_bursts) > _FEW_IN_BURSTS:
        report.suspect(f"{name}: {share:.0%} of the messages come right after another, as from two "
                       "publishers")
    if abs(stream.lag_s) > _CLOCKS_AGREE_S:
        report.suspect(f"{name}: the log is {stream.lag_s:.3f} s ahead of the stamps, which are of "
                       "another clock")


def _suspect_gap(name: str, stream: Stream, report: Report) -> None:
    gaps_s = stream.gaps_s
    if not len(gaps_s):
        return
    largest, usual = float(gaps_s.max()), stream.usual_gap_s
    if largest > _LONG_GAP * usual:
        after_s = stream.times_ns[int(gaps_s.argmax())] * 1e-9
        report.suspect(f"{name}: no message for {largest:.3f} s after {_time(after_s)}, where "
                       f"{usual:.3f} s are usual")


def _suspect_names(bag: Bag, report: Report) -> None:
    """Note topics that could be an input of a policy, and are not called so."""
    for name, types in INPUTS.items():
        alike = [topic for topic, entry in bag.topics.items() if entry.type in types]
        if alike and not any(is_named(topic, name) for topic in alike):
            report.suspect(f"no {name}; it may be --topic {name}={' or '.join(sorted(alike))}")
