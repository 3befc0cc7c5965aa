# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Convert messages to robot state: joints, the whole robot, external vectors.

No ROS package is needed: a message is any object with the attributes of the reader's ROS type, from
rclpy, a decoder or a bag reader. The native core reads serialized messages itself, following a
reader's `plan`.
"""

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from policy_core.bundle.body import PERCEIVED_LABEL
from policy_core.bundle.state_fields import (
    JOINT_STATES,
    LEADER,
    MOTION_JOINTS,
    STATE_TOPICS,
    StateTopic,
    read_velocity,
    require_orientation,
    require_pose,
    topic_fields,
)
from policy_core.bundle.terms import is_perceived
from policy_core.errors import RobotError
from policy_core.guard.joint_check import JointCheck
from policy_core.interfaces import F64
from policy_core.observation.state import EXTERNAL, StateVector
from policy_inference.messages.wire import LAYOUTS


class JointOrder:
    """Maps values by joint name; indices are recomputed only when the names change."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self._found: list[str] | None = None
        self._index = np.zeros(0, dtype=np.intp)

    def take(self, names: Sequence[str], values: F64, out: F64) -> None:
        """Write the values [names] for the contract's joints to `out` [joints].

        Joints that are not in the contract are ignored.

        Raises:
            RobotError: A joint of the contract is missing or named twice, or the number of values
                differs from the number of names.
        """
        if names != self._found:
            self._index = self._indices(names)
            self._found = list(names)
        if len(values) != len(self._found):
            raise RobotError(
                f"expected {len(self._found)} values, one per name, found {len(values)}"
            )
        # mode="clip" avoids the copy that the bounds check of take(out=) needs.
        values.take(self._index, None, out, "clip")

    def _indices(self, names: Sequence[str]) -> "np.ndarray[tuple[int], np.dtype[np.intp]]":
        counts = {name: list(names).count(name) for name in self.names}
        missing = [name for name, count in counts.items() if count == 0]
        doubled = [name for name, count in counts.items() if count > 1]
        found = [
            f"{text}: {', '.join(joints)}"
            for text, joints in (("missing", missing), ("named twice", doubled))
            if joints
        ]
        if missing:
            found.append(f"the message contains {', '.join(names) or 'none'}")
        if found:
            raise RobotError("expected each joint once; " + "; ".join(found))
        return np.array([list(names).index(name) for name in self.names], dtype=np.intp)


_LONGEST_REASON, _AHEAD_S, _OTHER_CLOCK_S = 300, 0.1, 1e6
"""Maximum length of a reason in the status and log (characters); how far ahead a stamp may be,
since clocks differ (s); age beyond which a stamp is from a different clock (s).
"""
MADE_BY_ANOTHER = (
    "expected values computed with this policy's contract, found values from a different contract; "
    "restart perception_node with this policy's bundle"
)
"""Problem reported for perception input made for another contract; `policy_update.cpp` contains the
same text.
"""
_ARRAYS = SimpleNamespace(position="position", velocity="velocity")
"""Stand-in for a JointState, with field names instead of numbers."""
_REQUIRED: Mapping[Callable[[Any], None], str] = {
    require_orientation: "orientation",
    require_pose: "pose",
}
"""Names of required message contents, for the native core."""


def velocity_plan(message: str) -> dict[str, Any]:
    """Return the native core's plan for reading velocity commands of a ROS type."""
    layout = LAYOUTS[message]
    return {"kind": "velocity", **layout.plan(), "places": read_velocity(layout.places)}


def stamp_ns(message: Any) -> int | None:
    """Return the header stamp in ns; None for messages without a header or stamp."""
    of_wire: int | None = getattr(message, "stamp_ns", None)
    if of_wire is not None:
        return of_wire or None
    header = getattr(message, "header", None)
    if header is None:
        return None
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec or None


class JointStateReader:
    """Reads sensor_msgs/JointState: positions and velocities by joint name."""

    message = JOINT_STATES.types[0]

    def __init__(
        self, names: Sequence[str], state: StateVector, check: JointCheck | None = None
    ) -> None:
        """Write to `joint_pos` and, if the state has it, `joint_vel`, in the order of `names`.

        `check` judges each sample first; None if samples have already been judged, as in
        recordings.
        """
        self._order, self._check = JointOrder(names), check
        self._position, self._velocity = state["joint_pos"], state.get("joint_vel")
        self._read_position, self._read_velocity = np.zeros((2, len(names)))

    def read(self, message: Any, now_ns: int | None = None) -> None:
        velocity = None if self._velocity is None else self._read_velocity
        if velocity is not None:
            if len(message.velocity) == 0:
                raise RobotError(
                    "expected velocities, found none; the policy needs measured velocities"
                )
            if len(message.position) != len(message.velocity):
                raise RobotError(
                    f"expected {len(message.position)} velocities, one per position, found "
                    f"{len(message.velocity)}"
                )
            self._order.take(message.name, np.asarray(message.velocity), velocity)
        self._order.take(message.name, np.asarray(message.position), self._read_position)
        if self._check is not None:
            assert now_ns is not None, "samples are judged by the time of the tick"
            if problem := self._check.problem(self._read_position, velocity, now_ns):
                raise RobotError(problem)
        self._position[...] = self._read_position
        if self._velocity is not None:
            self._velocity[...] = self._read_velocity

    def plan(self) -> dict[str, Any]:
        """Return names and fields; the native core does its own check."""
        return {
            "kind": "joints",
            "names": self._order.names,
            "is_checked": True,
            "position": "joint_pos",
            "velocity": None if self._velocity is None else "joint_vel",
        }


class OtherJointsReader:
    """Reads sensor_msgs/JointState for other joints: those of a live motion or a leader arm."""

    message = JOINT_STATES.types[0]

    def __init__(self, topic: StateTopic, names: Sequence[str], state: StateVector) -> None:
        """Write the topic fields that the contract needs, in the order of `names`."""
        self._order = JointOrder(names)
        self._fields = [
            (field, state[field.name], np.zeros(len(names)))
            for field in topic_fields(topic.name)
            if field.name in state.slices
        ]

    def read(self, message: Any, now_ns: int | None = None) -> None:
        for field, _, taken in self._fields:
            assert field.read is not None
            values = np.asarray(field.read(message))
            if len(values) == 0:
                raise RobotError(f"expected {field.doc.lower()}, found none; the policy needs them")
            self._order.take(message.name, values, taken)
            if not math.isfinite(taken.dot(taken)):
                raise RobotError("expected finite numbers, found NaN or infinity")
        for _, out, taken in self._fields:
            out[:] = taken

    def plan(self) -> dict[str, Any]:
        fields = {str(field.read(_ARRAYS)): field.name for field, *_ in self._fields if field.read}
        return {"kind": "joints", "names": self._order.names, "is_checked": False, **fields}


class RobotReader:
    """Reads a message with whole-robot fields, such as sensor_msgs/Imu."""

    def __init__(self, topic: StateTopic, state: StateVector) -> None:
        self.message = topic.types[0]
        self._needed = [field for field in topic_fields(topic.name) if field.name in state.slices]
        self._required = [field.require for field in self._needed if field.require]
        # Packing numbers into a field's memory takes a third of the time of an assignment.
        self._fields = [
            (struct.Struct(f"{field.size}d").pack_into, state[field.name].data, field.read)
            for field in self._needed
            if field.read
        ]

    def read(self, message: Any, now_ns: int | None = None) -> None:
        """Write all fields or none; reject a message that lacks one of them."""
        for require in self._required:
            require(message)
        for write, memory, values in self._fields:
            write(memory, 0, *values(message))

    def plan(self) -> dict[str, Any]:
        layout = LAYOUTS[self.message]
        reads = {field.name: field.read for field in self._needed if field.read}
        return {
            "kind": "robot",
            **layout.plan(),
            "fields": [*reads],
            "places": [place for read in reads.values() for place in read(layout.places)],
            "required": "".join(_REQUIRED[require] for require in self._required),
        }


class VectorReader:
    """Reads std_msgs/Float32MultiArray: an external vector."""

    message, kind = "std_msgs/msg/Float32MultiArray", "vector"

    def __init__(self, topic: str, state: StateVector) -> None:
        self._name = f"{EXTERNAL}{topic}"
        self._field = state[self._name]

    def read(self, message: Any, now_ns: int | None = None) -> None:
        if len(message.data) != self._field.size:
            raise RobotError(f"expected {self._field.size} values, found {len(message.data)}")
        self._field[:] = message.data

    def plan(self) -> dict[str, Any]:
        return {"kind": self.kind, "field": self._name}


class PerceivedReader(VectorReader):
    """Reads policy_msgs/Perceived: a height scan, or the values of camera images."""

    message, kind = "policy_msgs/msg/Perceived", "perceived"

    def __init__(self, topic: str, state: StateVector) -> None:
        super().__init__(topic, state)
        self._label = state.perceived.get(topic, "")

    def read(self, message: Any, now_ns: int | None = None) -> None:
        """Write all values; reject a message for a different contract, or one with a problem."""
        label = message.header.frame_id
        if label.startswith(PERCEIVED_LABEL) and label != self._label:
            raise RobotError(MADE_BY_ANOTHER)
        if message.problem:
            raise RobotError(shortened(message.problem))
        data = np.asarray(message.data)
        if data.size != self._field.size:
            raise RobotError(f"expected {self._field.size} values, found {data.size}")
        if not np.isfinite(data).all():
            raise RobotError("expected finite values, found NaN or infinity")
        self._field[:] = data

    def plan(self) -> dict[str, Any]:
        return {**super().plan(), "label": self._label}


MessageReader = JointStateReader | OtherJointsReader | RobotReader | VectorReader
"""Writes messages of the ROS type `message` to the state.

`read` writes nothing if the message is invalid; a reader with a check needs the time of the tick.
`plan` returns the native core's plan for reading
the same serialized message.
"""


def shortened(reason: str) -> str:
    """Return a reason as a single line of limited length, since names in messages are untrusted."""
    return " ".join(reason.split())[:_LONGEST_REASON]


def require_past(what: str, age_s: float) -> None:
    """Raise RobotError if a stamp lies ahead of the clock."""
    if age_s < -_AHEAD_S:
        raise RobotError(
            f"{what}: expected a stamp in the past, found a stamp {-age_s:.2f} s in the future; "
            "synchronize the clocks"
        )


def require_age(what: str, age_s: float, timeout_s: float) -> None:
    """Raise RobotError if a stamp is too old, ahead of the clock, or from a different clock."""
    if abs(age_s) > _OTHER_CLOCK_S:
        raise RobotError(
            f"{what}: expected a stamp from this node's clock, found a stamp {age_s:.0f} s old; "
            "set use_sim_time to the same value in all nodes"
        )
    require_past(what, age_s)
    if age_s > timeout_s:
        raise RobotError(f"{what}: expected an age of at most {timeout_s:g} s, found {age_s:.2f} s")


def message_types(name: str) -> tuple[str, ...]:
    """Return the accepted ROS types of a joint policy's input, the usual one first."""
    if name in STATE_TOPICS:
        return STATE_TOPICS[name].types
    return ((PerceivedReader if is_perceived(name) else VectorReader).message,)


def state_reader(
    name: str, names: Sequence[str], state: StateVector, check: JointCheck | None = None
) -> MessageReader:
    """Return the reader for an input that carries robot state.

    Args:
        name: Input name.
        names: The contract's joints, in its order, named as on the robot.
        state: State to write to.
        check: Same as for `JointStateReader`.
    """
    if name == JOINT_STATES.name:
        return JointStateReader(names, state, check)
    if name in (MOTION_JOINTS.name, LEADER.name):
        return OtherJointsReader(STATE_TOPICS[name], names, state)
    if name in STATE_TOPICS:
        return RobotReader(STATE_TOPICS[name], state)
    return (PerceivedReader if is_perceived(name) else VectorReader)(name, state)
