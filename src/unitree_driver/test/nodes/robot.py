# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The robot's side of the topics, without physics: LowState, motion service, what it hears."""

import threading
import time
from contextlib import ExitStack
from typing import Any

import rclpy
from rclpy.node import Node

from policy_inference.nodes import qos
from policy_inference.nodes.rclpy_gaps import MessageWaitSet, never_called, take_message
from policy_inference.nodes.sampling import SampleGroup, message_class
from policy_inference.testing.domains import claimed_domain_id
from robot_driver.testing.case import COMMANDED, GIVEN_BACK, OTHER, TAKEN, DriverCase, RobotDouble
from unitree_driver import wire
from unitree_driver.figures import G1, GO2, H1, UnitreeFigures
from unitree_driver.motion_service import RELEASE_MODE, SELECT_MODE, STAND_DOWN
from unitree_driver.wire import TOPIC_NAMES, RobotTopic

from ..lockstep import FakeRobot
from ..messages import NO_KEYS, low_cmd_values, low_state, remote_with_keys

_PERIOD_S = 0.002
_CAUGHT_UP_S = 0.3
"""A busy machine loses no messages below this, so that they come at a plausible rate."""
_MS_PER_S = 1000
# In the order of the motors, as the vendor's documents number them: an H1 has no motor 9.
GO2_JOINTS = [
    f"{leg}_{part}_joint" for leg in ("FR", "FL", "RR", "RL") for part in ("hip", "thigh", "calf")
]
_LEG = ("hip_pitch", "hip_roll", "hip_yaw", "knee", "ankle_pitch", "ankle_roll")
_ARM = ("shoulder_pitch", "shoulder_roll", "shoulder_yaw", "elbow")
_WRIST = ("wrist_roll", "wrist_pitch", "wrist_yaw")
G1_JOINTS = [
    *(f"{side}_{part}_joint" for side in ("left", "right") for part in _LEG),
    *(f"waist_{part}_joint" for part in ("yaw", "roll", "pitch")),
    *(f"{side}_{part}_joint" for side in ("left", "right") for part in (*_ARM, *_WRIST)),
]
H1_JOINTS = """
    right_hip_roll right_hip_pitch right_knee left_hip_roll left_hip_pitch left_knee
    torso left_hip_yaw right_hip_yaw left_ankle right_ankle
    right_shoulder_pitch right_shoulder_roll right_shoulder_yaw right_elbow
    left_shoulder_pitch left_shoulder_roll left_shoulder_yaw left_elbow
"""
_JOINTS = {
    GO2.name: GO2_JOINTS,
    G1.name: G1_JOINTS,
    H1.name: [f"{name}_joint" for name in H1_JOINTS.split()],
}
_SAYS = {RELEASE_MODE: TAKEN, SELECT_MODE: GIVEN_BACK, STAND_DOWN: OTHER}


class UnitreeDouble(RobotDouble):
    """A robot on a DDS domain of its own that stays where it lies or hangs.

    Attributes:
        service: Its own controller.
        wrong_crc: Number of commands with a wrong checksum.
        remote: What is pressed.
    """

    def __init__(self, model: UnitreeFigures, active: str = "ai") -> None:
        """Begin with a robot that is not switched on."""
        self.service = FakeRobot(model, active)
        if model.lying is not None:
            self.service.joint_pos = model.lying.position
        super().__init__(_JOINTS[model.name], self.service.joint_pos)
        self.model, self.wrong_crc, self.remote = model, 0, NO_KEYS
        self._closers = ExitStack()
        self.domain_id = self._closers.enter_context(claimed_domain_id())
        self._began_s = self._due_s = time.monotonic()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="robot", daemon=True)

    @property
    def parameters(self) -> dict[str, object]:
        return {"domain_id": self.domain_id}

    def start(self) -> None:
        context = rclpy.Context()
        rclpy.init(args=[], context=context, domain_id=self.domain_id)
        self._closers.callback(rclpy.shutdown, context=context)
        self.node = Node("robot", context=context, enable_rosout=False)
        self._closers.callback(self.node.destroy_node)
        family, api = self.model.family, "unitree_api/msg"
        self._state = self._publisher(family.state.type_name, RobotTopic.LOWSTATE)
        self._answer = self._publisher(f"{api}/Response", RobotTopic.SWITCHER_RESPONSE)
        kinds = {
            RobotTopic.LOWCMD: message_class(family.command.type_name),
            RobotTopic.SWITCHER_REQUEST: message_class(f"{api}/Request"),
            RobotTopic.SPORT_REQUEST: message_class(f"{api}/Request"),
        }
        self._readers = {}
        for topic, kind in kinds.items():
            subscription = self.node.create_subscription(
                kind, TOPIC_NAMES[topic], never_called, qos.COMMAND, callback_group=SampleGroup()
            )
            self._readers[subscription.handle.pointer] = (topic, subscription.handle, kind)
        self._wait_set = MessageWaitSet(self.node, len(kinds))
        self._thread.start()

    def restart(self) -> None:
        self._began_s, self.service.active = self._due_s, "ai"

    def close(self) -> None:
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()
        self._closers.close()

    def press(self, *names: str) -> None:
        """Hold these keys of the remote, and no others."""
        self.remote = remote_with_keys(*names)

    def _publisher(self, kind: str, topic: RobotTopic) -> Any:
        return self.node.create_publisher(message_class(kind), TOPIC_NAMES[topic], qos.COMMAND)

    def _run(self) -> None:
        handles = [handle for _, handle, _ in self._readers.values()]
        while not self._ending.is_set():
            now_s = time.monotonic()
            self._due_s = max(self._due_s, now_s - _CAUGHT_UP_S)
            # All that are due: the rate is the robot's, however busy this machine is.
            while self._due_s <= now_s:
                self._due_s += _PERIOD_S
                self._send()
            wait_ns = round(1e9 * max(0.0, self._due_s - time.monotonic()))
            for pointer in self._wait_set.wait(handles, wait_ns):
                topic, handle, kind = self._readers[pointer]
                while (taken := take_message(handle, kind)) is not None:
                    self._take(topic, taken[0])

    def _send(self) -> None:
        if (sensed := self.sense()) is None:
            return
        tick = round(_MS_PER_S * (self._due_s - self._began_s))
        x, y, z, w = sensed.quat_xyzw
        self._state.publish(
            low_state(
                self.model,
                tick=tick,
                joint_pos=sensed.joint_pos,
                joint_vel=sensed.joint_vel,
                joint_effort=sensed.joint_effort,
                remote=self.remote,
                imu__quaternion=(w, x, y, z),
                imu__rpy=sensed.rpy,
                imu__gyroscope=sensed.ang_vel,
                imu__accelerometer=sensed.lin_acc,
            )
        )

    def _take(self, topic: RobotTopic, data: bytes) -> None:
        if topic is not RobotTopic.LOWCMD:
            self._serve(topic, data)
            return
        size = self.model.family.command.wire_bytes
        record = self.model.family.command.from_wire(data[:size])
        if wire.crc(record.tobytes()) != record["crc"]:
            self.wrong_crc += 1
        elif not self.service.active:
            self.hear(COMMANDED, low_cmd_values(self.model, data))

    def _serve(self, topic: RobotTopic, data: bytes) -> None:
        self.service.hear(bytes([topic]) + data, 0)
        # A question alone changes nothing, and is repeated each second.
        what = _SAYS.get(self.service.requests[-1].api)
        if what is not None:
            self.hear(what)
        for answer in self.service.answers:
            self._answer.publish(wire.response(answer))
        self.service.answers.clear()


def case(model: UnitreeFigures, command: str, **parameters: object) -> DriverCase:
    """Return what the conformance suite must know of a driver."""
    return DriverCase(
        command=[command],
        node=command,
        robot=lambda: UnitreeDouble(model),
        figures=model.figures,
        lost_counter="missed",
        # A robot that a busy machine holds up is waited for; its remote is not pressed.
        parameters={"remote_required": False, "state_timeout_s": 0.5, **parameters},
    )


GO2_CASE = case(GO2, "go2_driver")
G1_CASE = case(G1, "g1_driver", hung=True, restore_mode=True)
