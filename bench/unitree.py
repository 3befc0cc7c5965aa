# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Latency that a Unitree driver adds between DDS and topics, and regularity of its commands.

A loop is LowState to JointState, and JointCommand to LowCmd. It stands beside a bare echo with the
same four messages over the same DDS: a process that answers bytes with bytes. Gaps stand beside a
Python loop that sleeps until its deadlines and publishes. All three run on this machine.

`python -m bench.unitree` measures only these figures; with further arguments it is a baseline.
"""

import struct
import sys
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any

import numpy as np
import rclpy
from builtin_interfaces.msg import Duration
from policy_msgs.msg import JointCommand
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from bench.figures import Figure, Summary, summarise
from bench.processes import BenchError, Child, running
from policy_inference.nodes import qos
from policy_inference.nodes.rclpy_gaps import MessageWaitSet, never_called, take_message
from policy_inference.nodes.sampling import SampleGroup, message_class
from unitree_driver import wire
from unitree_driver.figures import GO2
from unitree_driver.wire import TOPIC_NAMES, RobotTopic, ServiceResponse

_BLOCKS, _CALLS = 3, 100
_STATE_NS, _CALL_NS = 2_000_000, 20_000_000
_TICKS = 2
_GAPS_NS = 5_000_000_000
_PATIENCE_S = 30.0
_LOOKED_AT_NS = 1_500_000_000
"""A robot must be still for a while before it is taken."""
_ANSWER_NS = 200_000_000
_LOST_SHARE = 0.05
_MARK = 2.0**-10
"""Marks are multiples of it, which float32 represents exactly."""
_NOISE_RADPS = 1e-3
_DEEP = QoSProfile(depth=2000)
_RATE_HZ = 500.0
_NAMES = GO2.figures.joint_names
_LOWCMD, _LOWSTATE = TOPIC_NAMES[RobotTopic.LOWCMD], TOPIC_NAMES[RobotTopic.LOWSTATE]


class _RawTopics:
    """Publishers and readers of bytes on the topics of one side."""

    def __init__(self, node: Node, out: Sequence[tuple[str, str]], into: Sequence[Any]) -> None:
        """Open them.

        Args:
            node: Publishes and subscribes.
            out: Topic and type to publish.
            into: Topic, type and profile to read.
        """
        self._publishers = {
            topic: node.create_publisher(message_class(kind), topic, qos.COMMAND)
            for topic, kind in out
        }
        self._readers = {}
        for topic, kind, profile in into:
            message = message_class(kind)
            subscription = node.create_subscription(
                message, topic, never_called, profile, callback_group=SampleGroup()
            )
            self._readers[subscription.handle.pointer] = topic, subscription.handle, message
        self._handles = [handle for _, handle, _ in self._readers.values()]
        self._wait_set = MessageWaitSet(node, len(self._handles))

    def send(self, topic: str, data: bytes) -> None:
        self._publishers[topic].publish(data)

    def heard(self, timeout_ns: int) -> Iterator[tuple[str, bytes, dict[str, Any]]]:
        """Yield topic, bytes and middleware data of received messages, after at most this time."""
        for pointer in self._wait_set.wait(self._handles, max(0, timeout_ns)):
            topic, handle, message = self._readers[pointer]
            while (taken := take_message(handle, message)) is not None:
                yield topic, *taken


_NUMBER = struct.Struct("=d")
_COMMAND_ARRAYS = ("position", "velocity", "effort", "stiffness", "damping", "effort_limit")
_JOINT_STATE, _JOINT_COMMAND = "sensor_msgs/msg/JointState", "policy_msgs/msg/JointCommand"
_OF_ROBOT = (_LOWSTATE, "unitree_go/msg/LowState"), (_LOWCMD, "unitree_go/msg/LowCmd")


class UnitreeRig:
    """The robot on one side and a policy on the other, in this process."""

    def __init__(self, node: Node, child: Child) -> None:
        self._node, self._child = node, child
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        answers = TOPIC_NAMES[RobotTopic.SWITCHER_RESPONSE]
        self._topics = _RawTopics(
            node,
            [
                _OF_ROBOT[0],
                (answers, "unitree_api/msg/Response"),
                ("/joint_command", _JOINT_COMMAND),
            ],
            [
                (*_OF_ROBOT[1], _DEEP),
                (TOPIC_NAMES[RobotTopic.SWITCHER_REQUEST], "unitree_api/msg/Request", _DEEP),
                ("/joint_states", _JOINT_STATE, qos.COMMAND),
            ],
        )
        _, self._velocity_at = _marked(JointState, "name", ("position", "velocity", "effort"), 1)
        assert GO2.lying is not None
        self._record: Any = np.zeros((), GO2.family.state.record)
        self._record["imu"]["quaternion"][0] = 1.0
        self._record["imu"]["accelerometer"][2] = 9.81
        self._record["motors"]["q"][: len(_NAMES)] = GO2.lying.position
        self._record["motors"]["temperature"][: len(_NAMES)] = 30
        zero = array("d", bytes(8 * len(_NAMES)))
        self._command = JointCommand(
            names=list(_NAMES),
            valid_for=Duration(sec=1),
            position=GO2.lying.position.tolist(),
            velocity=zero,
            effort=array("d", zero),
            stiffness=zero,
            damping=[2.0] * len(_NAMES),
            effort_limit=[20.0] * len(_NAMES),
        )
        self._due_ns = time.monotonic_ns()
        self._stamps_ns: list[int] = []
        self._states: list[float] = []
        self._commands: list[float] = []

    def take_control(self) -> None:
        """Take control as soon as the driver agrees, and start following."""
        client = self._node.create_client(Trigger, "go2_driver/take_control")
        self._until(client.service_is_ready, "the driver")
        give_up_s = time.monotonic() + _PATIENCE_S
        taken = False
        while not taken:
            self.keep_up_until(time.monotonic_ns() + _LOOKED_AT_NS)
            answer = client.call_async(Trigger.Request())
            self._until(answer.done, "an answer of take_control")
            taken = answer.result().success
            if not taken and time.monotonic() > give_up_s:
                raise BenchError(answer.result().message)
        self.publish(0.0)
        self.keep_up_until(time.monotonic_ns() + _ANSWER_NS)
        self._command.mode = JointCommand.MODE_STAND
        self._command.stiffness = [30.0] * len(_NAMES)

    def loop(self, mark: float) -> int | None:
        """Return the time from a LowState to the LowCmd that answers it, ns."""
        self._states.clear()
        self._commands.clear()
        frame = self._frame(mark)
        began_ns = time.monotonic_ns()
        self._topics.send(_LOWSTATE, frame)
        if not self._hears(self._states, mark):
            return None
        self.publish(mark)
        heard = self._hears(self._commands, mark)
        return time.monotonic_ns() - began_ns if heard else None

    def publish(self, mark: float) -> None:
        """Publish a command that the first joint's effort identifies."""
        self._command.sequence += 1
        self._command.effort[0] = mark
        self._topics.send("/joint_command", bytes(serialize_message(self._command)))

    def gaps_us(self) -> Summary:
        """Return the intervals between LowCmd messages while commands arrive at 50 Hz."""
        self._stamps_ns.clear()
        end_ns = time.monotonic_ns() + _GAPS_NS
        while (now_ns := time.monotonic_ns()) < end_ns:
            self.publish(0.0)
            self.keep_up_until(now_ns + _CALL_NS)
        return summarise((np.diff(self._stamps_ns) * 1e-3).tolist())

    def keep_up_until(self, end_ns: int) -> None:
        """Act as the robot, until then."""
        while (now_ns := time.monotonic_ns()) < end_ns:
            if now_ns >= self._due_ns:
                self._due_ns = max(self._due_ns + _STATE_NS, now_ns)
                self._topics.send(_LOWSTATE, self._frame(0.0))
            self._hear(min(self._due_ns, end_ns) - time.monotonic_ns())

    def close(self) -> None:
        self._executor.shutdown()

    def _frame(self, mark: float) -> bytes:
        record = self._record
        # Not the time: the driver's node gets only one of two messages per turn of joint_states.
        record["tick"] += _TICKS
        # without noise it would count as a failed IMU
        record["imu"]["gyroscope"][0] = _NOISE_RADPS * (record["tick"] // _TICKS % 2)
        record["motors"]["dq"][0] = mark
        return GO2.family.state.to_wire(record)

    def _hears(self, into: list[float], mark: float) -> bool:
        end_ns = time.monotonic_ns() + _ANSWER_NS
        while mark not in into and (left_ns := end_ns - time.monotonic_ns()) > 0:
            self._hear(left_ns)
        return mark in into

    def _hear(self, timeout_ns: int) -> None:
        for topic, data, about in self._topics.heard(timeout_ns):
            if topic == _LOWCMD:
                numbers = GO2.family.command.from_wire(data)["motors"]["numbers"]
                self._commands.append(float(numbers[0, 2]))
                self._stamps_ns.append(about["source_timestamp"])
            elif topic == "/joint_states":
                self._states.append(_NUMBER.unpack_from(data, self._velocity_at)[0])
            else:
                asked = wire.read_request(data)
                assert asked is not None
                free = ServiceResponse(asked.identity, asked.api, 0, '{"form":"0","name":""}')
                answers = TOPIC_NAMES[RobotTopic.SWITCHER_RESPONSE]
                self._topics.send(answers, wire.response(free))

    def _until(self, condition: Any, what: str) -> None:
        give_up_s = time.monotonic() + _PATIENCE_S
        while not condition():
            self._child.check()
            if time.monotonic() > give_up_s:
                raise BenchError(f"waited {_PATIENCE_S:g} s for {what}")
            self.keep_up_until(time.monotonic_ns() + _STATE_NS)
            self._executor.spin_once(timeout_sec=0.0)


@contextmanager
def _rig(command: Sequence[str]) -> Iterator[UnitreeRig]:
    """Start a process on the other side of the topics."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node("bench_unitree", context=context, enable_rosout=False)
    try:
        with running(command) as child, closing(UnitreeRig(node, child)) as rig:
            yield rig
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)


def _driver(domain_id: int) -> list[str]:
    parameters = {
        "domain_id": domain_id,
        "remote_required": "false",
        "command_rate_hz": _RATE_HZ,
        # a pause of this process must not end the measurement
        "state_timeout_s": 0.5,
    }
    words = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
    return ["go2_driver", "--ros-args", *words]


def echo() -> None:
    """Answer each LowState with the JointState of its mark, each JointCommand with a LowCmd."""
    with _other_side() as node:
        topics = _RawTopics(
            node,
            [("/joint_states", _JOINT_STATE), _OF_ROBOT[1]],
            [(*_OF_ROBOT[0], qos.SAMPLE), ("/joint_command", _JOINT_COMMAND, qos.COMMAND)],
        )
        state, velocity_at = _marked(JointState, "name", ("position", "velocity", "effort"), 1)
        _, effort_at = _marked(JointCommand, "names", _COMMAND_ARRAYS, 2)
        record: Any = np.zeros((), GO2.family.command.record)
        while True:
            for topic, data, _ in topics.heard(_ANSWER_NS):
                if topic == _LOWSTATE:
                    mark = GO2.family.state.from_wire(data)["motors"]["dq"][0]
                    _NUMBER.pack_into(state, velocity_at, mark)
                    topics.send("/joint_states", bytes(state))
                else:
                    record["motors"]["numbers"][0, 2] = _NUMBER.unpack_from(data, effort_at)[0]
                    topics.send(_LOWCMD, GO2.family.command.to_wire(record))


def _marked(
    kind: type[Any], names: str, arrays: Sequence[str], which: int
) -> tuple[bytearray, int]:
    """Return a message for all joints, and the offset of an array's first number in it."""
    size, mark = len(_NAMES), [np.pi] * len(_NAMES)
    values = {name: mark if i == which else [0.0] * size for i, name in enumerate(arrays)}
    data = bytearray(serialize_message(kind(**{names: list(_NAMES)}, **values)))
    return data, data.index(_NUMBER.pack(np.pi))


def pace() -> None:
    """Publish LowCmd messages at a rate, while gaps are measured."""
    with _other_side() as node:
        topics = _RawTopics(node, [_OF_ROBOT[1]], [(*_OF_ROBOT[0], qos.SAMPLE)])
        data = GO2.family.command.to_wire(np.zeros((), GO2.family.command.record))
        deadline_s = time.monotonic()
        while True:
            topics.send(_LOWCMD, data)
            deadline_s += 1.0 / _RATE_HZ
            time.sleep(max(0.0, deadline_s - time.monotonic()))


@contextmanager
def _other_side() -> Iterator[Node]:
    rclpy.init()
    try:
        yield Node("other_side", enable_rosout=False)
    except KeyboardInterrupt:
        pass
    finally:
        rclpy.try_shutdown()


def measure() -> list[Figure]:
    """Measure the loop and the gaps at 500 Hz, in turn with their baselines."""
    ours, bare = list[Summary](), list[Summary]()
    with _rig(_driver(_own_domain_id())) as rig:
        rig.take_control()
        for _ in range(_BLOCKS):
            ours.append(_timed(rig))
        gaps = rig.gaps_us()
    with _rig(_baseline("echo")) as rig:
        rig.keep_up_until(time.monotonic_ns() + 2 * _LOOKED_AT_NS)
        for _ in range(_BLOCKS):
            bare.append(_timed(rig))
    with _rig(_baseline("pace")) as rig:
        rig.keep_up_until(time.monotonic_ns() + 2 * _LOOKED_AT_NS)
        paced = rig.gaps_us()
    return [
        Figure(name="unitree_loop_ratio", unit="us", ours=ours, baseline=bare, wanted=1.6),
        Figure(name="unitree_gap_500_us", unit="us", ours=[gaps], baseline=[paced]),
    ]


def _own_domain_id() -> int:
    """Return the domain of nodes started from here."""
    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        return int(context.get_domain_id())
    finally:
        rclpy.shutdown(context=context)


def _timed(rig: UnitreeRig) -> Summary:
    """Run the loop at 50 Hz, with states in between; return the times, us."""
    took_us, lost = list[float](), 0
    deadline_ns = time.monotonic_ns()
    for call in range(_CALLS):
        took_ns = rig.loop((call + 1) * _MARK)
        if took_ns is None:
            lost += 1
        else:
            took_us.append(took_ns * 1e-3)
        rig.publish(0.0)
        # never catch up: states must continue, too
        deadline_ns = max(deadline_ns, time.monotonic_ns() - _CALL_NS // 2) + _CALL_NS
        rig.keep_up_until(deadline_ns)
    if lost > _LOST_SHARE * _CALLS:
        raise BenchError(f"unitree_loop_ratio: {lost} of {_CALLS} messages did not come through")
    return summarise(took_us)


def _baseline(what: str) -> list[str]:
    return [sys.executable, "-m", "bench.unitree", what]


if __name__ == "__main__":
    {"echo": echo, "pace": pace}[sys.argv[1]]()
