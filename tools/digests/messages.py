# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Published bytes and recordings as stages: commands, chunks, ticks, runs of a model."""

from __future__ import annotations

import itertools
import json
import struct
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tools.digests.digest import Array, CaseError

MODES = ("DAMP", "STAND", "READY", "RUN", "HOLD", "HOLD_MEASURED", "TORQUE_OFF")
COMMAND_FIELDS = ("position", "velocity", "effort", "stiffness", "damping", "effort_limit")


def output_of(kind: str) -> tuple[str, Any]:
    """Return topic and type of a kind of output."""
    from policy_msgs.msg import JointCommand
    from sensor_msgs.msg import JointState
    from std_msgs.msg import Float64MultiArray
    from trajectory_msgs.msg import JointTrajectory

    return {
        "joint_command": ("joint_command", JointCommand),
        "position_array": ("position_controller/commands", Float64MultiArray),
        "joint_trajectory": ("joint_trajectory", JointTrajectory),
        "joint_state": ("joint_state_command", JointState),
    }[kind]


def decode_command(data: bytes, kind: str = "joint_command") -> dict[str, Any]:
    """Return the fields of a command; arrays in the order of its names.

    What carries positions alone has `position`, and `names` where it names joints.
    """
    from rclpy.serialization import deserialize_message

    message = deserialize_message(data, output_of(kind)[1])
    if kind == "position_array":
        return {"position": np.array(message.data)}
    if kind == "joint_trajectory":
        positions = np.array(message.points[0].positions)
        return {"names": list(message.joint_names), "position": positions}
    if kind == "joint_state":
        return {"names": list(message.name), "position": np.array(message.position)}
    return {
        "stamp_ns": message.stamp.sec * 10**9 + message.stamp.nanosec,
        "sequence": message.sequence,
        "mode": MODES[message.mode],
        "names": list(message.names),
        **{name: np.array(getattr(message, name)) for name in COMMAND_FIELDS},
    }


def position_stages(commands: Sequence[bytes], kind: str) -> dict[str, Any]:
    """Return the stages of commands that carry positions alone: names and targets."""
    found = [decode_command(data, kind) for data in commands]
    return {
        "commands.names": [" ".join(entry.get("names", ["none"])) for entry in found],
        "commands.targets": np.array([entry["position"] for entry in found]),
    }


def command_stages(commands: Sequence[bytes]) -> dict[str, Any]:
    """Return the stages of published commands: their modes, targets, and bytes.

    Sequence numbers count from the first of these commands, since those before it depend on how
    long two processes took to find each other.
    """
    decoded = [decode_command(data) for data in commands]
    first = decoded[0]["sequence"] if decoded else 0
    return {
        "commands.mode": [
            f"{found['stamp_ns'] * 1e-9:.3f} s #{found['sequence'] - first} {found['mode']}"
            for found in decoded
        ],
        "commands.targets": np.array(
            [np.concatenate([found[name] for name in COMMAND_FIELDS]) for found in decoded]
        ),
        "commands.bytes": [_plain_command(data).hex() for data in commands],
    }


def chunk_stages(chunks: Sequence[bytes]) -> dict[str, Any]:
    """Return the stages of published chunks; sequence numbers count from the first one's."""
    from policy_msgs.msg import ActionChunk
    from rclpy.serialization import deserialize_message

    found = [deserialize_message(data, ActionChunk) for data in chunks]
    first = found[0].sequence if found else 0
    return {
        "chunks": [
            f"{_seconds(chunk.stamp):.9f} s #{chunk.sequence - first} {chunk.steps} steps of "
            f"{chunk.period_s!r} s: {' '.join(chunk.names)}"
            for chunk in found
        ],
        "chunks.data": _ragged([np.array(chunk.data) for chunk in found]),
    }


def _plain_command(data: bytes) -> bytes:
    """Return a JointCommand (CDR) with the sequence number 0 and zeros as padding.

    The padding before aligned values is whatever was in the memory of the node's process.
    """
    encapsulation, plain = data[:4], bytearray(data[4:])
    plain[8:16] = bytes(8)
    at = 25

    def aligned(size: int) -> int:
        end = at + -at % size
        plain[at:end] = bytes(end - at)
        return end

    at = aligned(4)
    (names,) = struct.unpack_from("<I", plain, at)
    at += 4
    for _ in range(names):
        at = aligned(4)
        at += 4 + struct.unpack_from("<I", plain, at)[0]
    for _ in COMMAND_FIELDS:
        at = aligned(4)
        (values,) = struct.unpack_from("<I", plain, at)
        at += 4
        at = aligned(8) + 8 * values
    return encapsulation + plain


class FlightContent:
    """What one or more flight recordings hold, in the order of time."""

    def __init__(self, recordings: Sequence[Path]) -> None:
        """Read them; what one repeats of the end of another is left out."""
        from rosbags.highlevel import AnyReader

        self._ticks = list[tuple[int, Any]]()
        self._sensors = list[tuple[int, str]]()
        until_ns = -1
        for recording in recordings:
            first = len(self._ticks)
            with AnyReader([recording]) as reader:
                for connection, time_ns, data in reader.messages():
                    topic = connection.topic
                    if time_ns <= until_ns:
                        continue
                    if topic.endswith("policy_tick"):
                        message = reader.deserialize(data, connection.msgtype)
                        self._ticks.append((time_ns, message))
                    elif not topic.endswith(("flight_info", "joint_command")):
                        self._sensors.append((time_ns, topic))
            # Not by time, which may have run backwards.
            self._ticks[first:] = sorted(self._ticks[first:], key=lambda entry: entry[1].tick)
            until_ns = max((time_ns for time_ns, _ in self._ticks), default=-1)
            numbers = [tick.tick for _, tick in self._ticks[first:]]
            gaps = [(a, b) for a, b in itertools.pairwise(numbers) if b != a + 1]
            if gaps:
                raise CaseError(f"{recording}: expected every tick, found gaps: {gaps}")

    def stages(self, after_ns: int, until_ns: int) -> dict[str, Any]:
        """Return what was sensed, observed, answered and decided in a time.

        Less what the wall clock decides: how long a tick took. Ticks count from the first one.

        Args:
            after_ns: The time begins after this one.
            until_ns: It ends with this one.
        """
        ticks = [tick for time_ns, tick in self._ticks if after_ns < time_ns <= until_ns]
        streams = Counter(
            topic for time_ns, topic in self._sensors if after_ns < time_ns <= until_ns
        )
        return {
            "sensors": [f"{topic}: {count}" for topic, count in sorted(streams.items())],
            "ages": np.array([tick.ages_s for tick in ticks]),
            "state": np.array([tick.state for tick in ticks]),
            "observation": _tensors([tick.inputs for tick in ticks]),
            "output": _tensors([tick.outputs for tick in ticks]),
            "target": _ragged([tick.target for tick in ticks]),
            "blend": np.array([[tick.blend, tick.begins] for tick in ticks], np.float64),
            "mode": [
                f"{count} {_seconds(tick.stamp):.3f} s {MODES[tick.mode]}"
                for count, tick in enumerate(ticks)
            ],
            "reason": [f"{count} {tick.reason}" for count, tick in enumerate(ticks) if tick.reason],
        }


def recordings_in(folder: Path, part: str) -> list[Path]:
    """Return the whole flight recordings whose names have this part, the oldest first."""
    found = [place for place in folder.iterdir() if part in place.name and place.name[0] != "."]
    return sorted(found, key=lambda place: place.stat().st_mtime_ns)


def tapped_stages(tap: Path, skipped: int) -> dict[str, Any]:
    """Return what the seeded back end noted of each model's runs, by model and tensor.

    Args:
        tap: Its file.
        skipped: So many runs at the beginning are those of opening.
    """
    runs = [json.loads(line) for line in tap.read_text("utf-8").splitlines()[skipped:]]
    stages = dict[str, Any]()
    for run in runs:
        model = "+".join(run)
        for name, (sha256, values) in run.items():
            stages.setdefault(f"{model}.{name}", []).append(values)
            stages.setdefault(f"{model}.{name}.sha256", []).append(sha256)
    return {
        name: entries if name.endswith(".sha256") else np.array(entries)
        for name, entries in stages.items()
    }


def _seconds(stamp: Any) -> float:
    return float(stamp.sec + stamp.nanosec * 1e-9)


def _tensors(ticks: Sequence[Sequence[Any]]) -> Array:
    """Return the tensors of each tick as one row; NaN where a tick has none."""
    rows = [
        np.concatenate(
            [
                np.frombuffer(bytes(tensor.data), tensor.dtype).astype(np.float64)
                for tensor in tensors
            ]
        )
        if tensors
        else np.zeros(0)
        for tensors in ticks
    ]
    return _ragged(rows)


def _ragged(rows: Sequence[Any]) -> Array:
    """Return rows of one length; NaN in those that are empty."""
    width = max((len(row) for row in rows), default=0)
    return np.array([row if len(row) else np.full(width, np.nan) for row in rows], np.float64)
