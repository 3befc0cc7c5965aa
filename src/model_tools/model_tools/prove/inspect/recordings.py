# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Inspects a recording: its topics, and messages that a policy could not use."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from model_tools.files.bags.bag import Bag, storage_files
from model_tools.files.bags.topics import is_named
from model_tools.prove.inspect.inspection import InspectionReport
from model_tools.prove.replaying.recording import TICK, FlightRecording
from policy_core.bundle.state_fields import (
    JOINT_STATES,
    LEADER,
    MOTION_TOPICS,
    STATE_TOPICS,
    StateField,
    topic_fields,
)
from policy_core.errors import RobotError
from policy_core.interfaces import Mode
from policy_inference.messages.readers import VectorReader, stamp_ns

_LONG_GAP = 5.0
"""Multiple of the usual time between messages above which a gap is suspicious."""
_FEW_IN_BURSTS = 0.3
_CLOCKS_AGREE_S = 1.0
_FIRST_DATE_S = 1e9
_ENOUGH = 10
"""Number of gaps that counts as a pattern."""
_SHOWN = 10


def inspect(path: Path) -> InspectionReport:
    """Return the contents of a recording; read only messages of types that policies use."""
    bag, report = Bag(path), InspectionReport(kind="rosbag2 recording", path=path)
    files = storage_files(path)
    size = sum(file.stat().st_size for file in files)
    report.row(
        "storage",
        f"{bag.storage}, {size * 1e-6:.1f} MB in {', '.join(file.name for file in files)}",
    )
    report.row("recorded", f"{bag.duration_ns * 1e-9:.3f} s from {_time(bag.start_ns * 1e-9)}")
    _describe_flight(path, bag, report)
    topics = dict[str, object]()
    report.values.update(
        storage=bag.storage,
        size_bytes=size,
        start_s=bag.start_ns * 1e-9,
        duration_s=bag.duration_ns * 1e-9,
        topics=topics,
    )
    for name, topic in sorted(bag.topics.items()):
        rate_hz = max(0, topic.count - 1) / max(bag.duration_ns * 1e-9, 1e-9)
        topics[name] = {"type": topic.type, "messages": topic.count, "rate_hz": rate_hz}
        report.row(name, f"{topic.type}, {topic.count} messages, {rate_hz:.1f} Hz")
        if topic.type in CHECKS and topic.count:
            _describe(name, _read_stream(bag, name), topic.count, report)
    _suspect_names(bag, report)
    return report


def _time(seconds: float) -> str:
    if seconds < _FIRST_DATE_S:
        return f"{seconds:.3f} s"
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(" ", "seconds")


def _describe(name: str, stream: Stream, stated: int, report: InspectionReport) -> None:
    count = len(stream.times_ns)
    if stream.frames:
        report.row(f"{name} frame", ", ".join(sorted(stream.frames)))
    for joints in sorted(stream.joints):
        report.row(f"{name} {len(joints)} joints", ", ".join(joints))
    if count != stated:
        report.suspect(f"{name}: {count} messages, where the recording states {stated}")
    for problem, times in stream.problems.items():
        report.suspect(f"{name}: {problem} in {times} of {count} messages")
    if len(stream.joints) > 1:
        report.suspect(
            f"{name}: {len(stream.joints)} different joint lists, as if from several publishers"
        )
    gaps_s = np.diff(np.array(stream.times_ns, np.float64)) * 1e-9
    if len(gaps_s):
        # Half the time of two usual intervals, so that bursts do not matter.
        usual_s = np.median((gaps_s[1:] + gaps_s[:-1]) / 2 if len(gaps_s) > 1 else gaps_s)
        if gaps_s.max() > _LONG_GAP * usual_s:
            after_s = stream.times_ns[int(gaps_s.argmax())] * 1e-9
            report.suspect(
                f"{name}: no message for {gaps_s.max():.3f} s after {_time(after_s)}, where "
                f"{usual_s:.3f} s is usual"
            )
        share = (gaps_s < usual_s / 2).mean()
        if len(gaps_s) >= _ENOUGH and share > _FEW_IN_BURSTS:
            report.suspect(
                f"{name}: {share:.0%} of the messages arrive right after the previous one, as if "
                "from two publishers"
            )
    lag_s = float(np.median(stream.lags_ns)) * 1e-9
    if abs(lag_s) > _CLOCKS_AGREE_S:
        report.suspect(
            f"{name}: the log is {lag_s:.3f} s ahead of the stamps: they use different clocks"
        )


def _suspect_names(bag: Bag, report: InspectionReport) -> None:
    """Note topics that could be an input of a policy under a different name."""
    for name, known in STATE_TOPICS.items():
        if name in (*MOTION_TOPICS, LEADER.name):
            continue
        alike = [topic for topic, entry in bag.topics.items() if entry.type in known.types]
        if alike and not any(is_named(topic, name) for topic in alike):
            report.suspect(f"no {name}; try --topic {name}={' or '.join(sorted(alike))}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Properties of a topic's messages.

    Attributes:
        times_ns: Stamps; log times for messages without a stamp.
        lags_ns: Log times minus `times_ns`.
        frames: Frame names in the messages' headers.
        joints: Lists of joint names in the messages.
        problems: Number of messages by problem.
    """

    times_ns: list[int] = field(default_factory=list)
    lags_ns: list[int] = field(default_factory=list)
    frames: set[str] = field(default_factory=set)
    joints: set[tuple[str, ...]] = field(default_factory=set)
    problems: Counter[str] = field(default_factory=Counter)


def _read_stream(bag: Bag, topic: str) -> Stream:
    stream, check = Stream(), CHECKS[bag.topics[topic].type]
    for log_ns, message in bag.messages(topic):
        stamp = stamp_ns(message)
        time_ns = log_ns if stamp is None else stamp
        if stamp is None and hasattr(message, "header"):
            stream.problems["no stamp"] += 1
        if stream.times_ns and time_ns < stream.times_ns[-1]:
            stream.problems["a stamp earlier than the previous one"] += 1
        stream.times_ns.append(time_ns)
        stream.lags_ns.append(log_ns - time_ns)
        stream.problems.update(set(check(message)))
        if hasattr(message, "header") and message.header.frame_id:
            stream.frames.add(message.header.frame_id)
        if hasattr(message, "name"):
            stream.joints.add(tuple(message.name))
    return stream


def _joint_state(message: Any) -> Iterator[str]:
    if not len(message.velocity):
        yield "no measured velocities, which policies need,"
    yield from _not_finite(message.position, message.velocity)


def _not_finite(*values: Any) -> Iterator[str]:
    if not all(np.isfinite(each).all() for each in values):
        yield "NaN or infinite values"


def _fields_given(rows: Sequence[StateField], message: Any) -> Iterator[str]:
    for row in rows:
        try:
            if row.require:
                row.require(message)
        except RobotError:
            yield f"no {row.doc.lower()}"
    yield from _not_finite(*(row.read(message) for row in rows if row.read))


CHECKS: dict[str, Callable[[Any], Iterator[str]]] = {
    **{
        kind: partial(_fields_given, topic_fields(topic.name))
        for topic in STATE_TOPICS.values()
        for kind in topic.types
    },
    JOINT_STATES.types[0]: _joint_state,
    VectorReader.message: lambda message: _not_finite(message.data),
}
"""Function that yields a message's problems, by message type."""


def _describe_flight(path: Path, bag: Bag, report: InspectionReport) -> None:
    """Add rows on the policy, the reason and the modes, if this is a flight recording."""
    if not any(topic.type == TICK for topic in bag.topics.values()):
        return
    recording = FlightRecording(path)
    info, modes = recording.info, list(recording.modes())
    report.row("flight of", f"{info.policy} on {info.backend}, {info.host}")
    report.row("bundle", f"{info.bundle}, SHA-256 {info.bundle_sha256[:16]}...")
    report.row("recorded because", info.reason)
    seconds = (modes[-1].time_ns - modes[0].time_ns) * 1e-9
    counts = Counter(entry.mode for entry in modes)
    report.row(
        "ticks",
        f"{len(modes)} in {seconds:.2f} s: "
        + ", ".join(f"{mode.name} {counts[mode]}" for mode in Mode if counts[mode]),
    )
    _describe_inferences(recording, report)
    timeline = [
        {
            "tick": one.number,
            "time_s": (one.time_ns - modes[0].time_ns) * 1e-9,
            "mode": one.mode.name,
            "reason": one.reason,
        }
        for one in modes
        if one.reason
    ]
    report.values["timeline"] = timeline
    if len(timeline) > _SHOWN:
        report.row("earlier changes", f"{len(timeline) - _SHOWN}, listed with --json")
    for each in timeline[-_SHOWN:]:
        report.row(f"at {each['time_s']:.3f} s", f"{each['mode']}: {each['reason']}")
    lost = modes[-1].number - modes[0].number + 1 - len(modes)
    if lost:
        report.suspect(f"{lost} ticks are not in the recording")


def _describe_inferences(recording: FlightRecording, report: InspectionReport) -> None:
    results = list(recording.results())
    if not results:
        return
    took_ms = np.array([each.ended_ns - each.began_ns for each in results]) * 1e-6
    failed = sum(each.chunk is None for each in results)
    report.row(
        "inferences",
        f"{len(results)}, median {np.median(took_ms):.1f} ms, longest {took_ms.max():.1f} ms, "
        f"{failed} failed",
    )
    errors = Counter(each.error for each in results if each.error)
    for error, count in errors.most_common(_SHOWN):
        report.suspect(f"an inference failed {count} times: {error}")
