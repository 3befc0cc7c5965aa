# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A recording of a robot: its topics, and what of them could not be fed to a policy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.bags.bag import Bag, is_bag, storage_files
from model_tools.files.bags.topics import is_named
from model_tools.prove.inspect.inspection import InspectionReport
from model_tools.prove.replaying.recorded_ticks import Moded
from model_tools.prove.replaying.recording import TICK, FlightRecording
from model_tools.prove.replaying.shadowing import recorded_divergence, shadow_line
from policy_core.bundle.state_fields import (
    JOINT_STATES,
    LEADER,
    MOTION_TOPICS,
    STATE_TOPICS,
    StateField,
    fields_of,
)
from policy_core.errors import RobotError
from policy_core.interfaces import F64, Mode
from policy_inference.messages.readers import VectorReader, stamp_ns

KIND = "rosbag2 recording"
_LONG_GAP = 5.0
"""Times the usual distance of two messages."""
_FEW_IN_BURSTS = 0.3
_CLOCKS_AGREE_S = 1.0
_FIRST_DATE_S = 1e9
_ENOUGH = 10
"""Gaps that tell a pattern."""
_SHOWN = 10


def recognise(path: Path) -> bool:
    """Return whether it is a storage file, or a folder with one or with its metadata."""
    return is_bag(path)


def inspect(path: Path) -> InspectionReport:
    """Return what was recorded; messages are read only of types that are inputs of policies."""
    bag, report = Bag(path), InspectionReport(kind=KIND, path=path)
    files = storage_files(path)
    size = sum(file.stat().st_size for file in files)
    report.row(
        "storage",
        f"{bag.storage}, {size * 1e-6:.1f} MB in {', '.join(file.name for file in files)}",
    )
    report.row("recorded", f"{bag.duration_ns * 1e-9:.3f} s from {_time(bag.start_ns * 1e-9)}")
    describe_flight(path, bag, report)
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
            stream = read_stream(bag, name)
            _describe(name, stream, report)
            if len(stream.times_ns) != topic.count:
                report.suspect(
                    f"{name}: {len(stream.times_ns)} messages, where the recording "
                    f"says {topic.count}"
                )
            _suspect(name, stream, report)
    _suspect_names(bag, report)
    return report


def _time(seconds: float) -> str:
    """Return a date, or the seconds of a clock that does not count from 1970."""
    if seconds < _FIRST_DATE_S:
        return f"{seconds:.3f} s"
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(" ", "seconds")


def _describe(name: str, stream: Stream, report: InspectionReport) -> None:
    if stream.frames:
        report.row(f"{name} frame", ", ".join(sorted(stream.frames)))
    for joints in sorted(stream.joints):
        report.row(f"{name} {len(joints)} joints", ", ".join(joints))


def _suspect(name: str, stream: Stream, report: InspectionReport) -> None:
    count = len(stream.times_ns)
    for problem, times in stream.problems.items():
        report.suspect(f"{name}: {problem} in {times} of {count} messages")
    if len(stream.joints) > 1:
        report.suspect(f"{name}: {len(stream.joints)} lists of joints, as from several publishers")
    _suspect_gap(name, stream, report)
    if (share := stream.in_bursts) > _FEW_IN_BURSTS:
        report.suspect(
            f"{name}: {share:.0%} of the messages come right after another, as from two publishers"
        )
    if abs(stream.lag_s) > _CLOCKS_AGREE_S:
        report.suspect(
            f"{name}: the log is {stream.lag_s:.3f} s ahead of the stamps, which are of "
            "another clock"
        )


def _suspect_gap(name: str, stream: Stream, report: InspectionReport) -> None:
    gaps_s = stream.gaps_s
    if not len(gaps_s):
        return
    largest, usual = float(gaps_s.max()), stream.usual_gap_s
    if largest > _LONG_GAP * usual:
        after_s = stream.times_ns[int(gaps_s.argmax())] * 1e-9
        report.suspect(
            f"{name}: no message for {largest:.3f} s after {_time(after_s)}, where "
            f"{usual:.3f} s are usual"
        )


def _suspect_names(bag: Bag, report: InspectionReport) -> None:
    """Note topics that could be an input of a policy, and are not called so."""
    for name, known in STATE_TOPICS.items():
        if name in (*MOTION_TOPICS, LEADER.name):
            continue
        alike = [topic for topic, entry in bag.topics.items() if entry.type in known.types]
        if alike and not any(is_named(topic, name) for topic in alike):
            report.suspect(f"no {name}; it may be --topic {name}={' or '.join(sorted(alike))}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """What the messages of a topic are like.

    Attributes:
        times_ns: Their stamps; times in the log of those without one.
        lags_ns: By how much the log is ahead of those times.
        frames: Frames they are in.
        joints: Lists of joints that they name.
        problems: How many of them have which.
    """

    times_ns: list[int] = field(default_factory=list)
    lags_ns: list[int] = field(default_factory=list)
    frames: set[str] = field(default_factory=set)
    joints: set[tuple[str, ...]] = field(default_factory=set)
    problems: Counter[str] = field(default_factory=Counter)

    @property
    def gaps_s(self) -> F64:
        """Times from each message to the next, s; negative where stamps jump back."""
        return np.diff(np.array(self.times_ns, np.float64)) * 1e-9

    @property
    def usual_gap_s(self) -> float:
        """Half the time that two messages usually take, s: also where they come in bursts."""
        gaps_s = self.gaps_s
        return float(np.median((gaps_s[1:] + gaps_s[:-1]) / 2 if len(gaps_s) > 1 else gaps_s))

    @property
    def in_bursts(self) -> float:
        """Share of messages that come within half the usual time after another."""
        if len(self.gaps_s) < _ENOUGH:
            return 0.0
        return float((self.gaps_s < self.usual_gap_s / 2).mean())

    @property
    def lag_s(self) -> float:
        """Median time by which the log is ahead of the stamps, s."""
        return float(np.median(self.lags_ns)) * 1e-9


def read_stream(bag: Bag, topic: str) -> Stream:
    """Read all messages of a topic whose type is one of `CHECKS`."""
    stream, check = Stream(), CHECKS[bag.topics[topic].type]
    for log_ns, message in bag.messages(topic):
        _note_times(stream, log_ns, message)
        stream.problems.update(set(check(message)))
        if hasattr(message, "header") and message.header.frame_id:
            stream.frames.add(message.header.frame_id)
        if hasattr(message, "name"):
            stream.joints.add(tuple(message.name))
    return stream


def _note_times(stream: Stream, log_ns: int, message: Any) -> None:
    stamp = stamp_ns(message)
    time_ns = log_ns if stamp is None else stamp
    if stamp is None and hasattr(message, "header"):
        stream.problems["no stamp"] += 1
    if stream.times_ns and time_ns < stream.times_ns[-1]:
        stream.problems["a stamp before the last one"] += 1
    stream.times_ns.append(time_ns)
    stream.lags_ns.append(log_ns - time_ns)


def _joint_state(message: Any) -> Iterator[str]:
    if not len(message.velocity):
        yield "no velocities, which policies need measured,"
    yield from _not_finite(message.position, message.velocity)


def _vector(message: Any) -> Iterator[str]:
    return _not_finite(message.data)


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
        kind: partial(_fields_given, fields_of(topic.name))
        for topic in STATE_TOPICS.values()
        for kind in topic.types
    },
    JOINT_STATES.types[0]: _joint_state,
    VectorReader.message: _vector,
}
"""What to look for in a message, by its type."""


def describe_flight(path: Path, bag: Bag, report: InspectionReport) -> None:
    """Add rows on the policy, why it was recorded, and its modes, where it is such a recording."""
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
    _describe_shadow(recording, report)
    _describe_changes(modes, report)
    lost = modes[-1].number - modes[0].number + 1 - len(modes)
    if lost:
        report.suspect(f"{lost} ticks are not in the recording")


def _describe_changes(modes: Sequence[Moded], report: InspectionReport) -> None:
    """Add rows on the last changes of mode or reason; `values` has all of them."""
    changes = [
        (entry, (entry.time_ns - modes[0].time_ns) * 1e-9) for entry in modes if entry.reason
    ]
    report.values["timeline"] = [
        {"tick": one.number, "time_s": at_s, "mode": one.mode.name, "reason": one.reason}
        for one, at_s in changes
    ]
    if len(changes) > _SHOWN:
        report.row("earlier changes", f"{len(changes) - _SHOWN}, which --json lists")
    for one, at_s in changes[-_SHOWN:]:
        report.row(f"at {at_s:.3f} s", f"{one.mode.name}: {one.reason}")


def _describe_shadow(recording: FlightRecording, report: InspectionReport) -> None:
    """Add a row on the policy that ran beside the other one, if one did."""
    try:
        divergence = recorded_divergence(recording)
    except ToolError as error:  # the set that ran is not here
        report.row("shadow", str(error))
        return
    if divergence is None:
        return
    settings = recording.info.settings
    name, version, mode = (
        settings.get(f"shadow.{key}", "") for key in ("bundle_name", "bundle_version", "mode")
    )
    worst = int(divergence.rms.argmax())
    report.row(
        "shadow",
        f"{name} {version}, {mode}: RMS {divergence.rms[worst]:.4g} and at most "
        f"{divergence.max[worst]:.4g} in {divergence.joints[worst]}, the worst; "
        f"{shadow_line(divergence)}",
    )


def _describe_inferences(recording: FlightRecording, report: InspectionReport) -> None:
    """Add a row on the inferences of a chunk policy, where there are any."""
    results = list(recording.results())
    if not results:
        return
    took_ms = np.array([each.ended_ns - each.began_ns for each in results]) * 1e-6
    failed = sum(each.chunk is None for each in results)
    report.row(
        "inferences",
        f"{len(results)}, {np.median(took_ms):.1f} ms in the median, {took_ms.max():.1f} ms the "
        f"longest, {failed} failed",
    )
    errors = Counter(each.error for each in results if each.error)
    for error, count in errors.most_common(_SHOWN):
        report.suspect(f"an inference failed {count} times: {error}")
