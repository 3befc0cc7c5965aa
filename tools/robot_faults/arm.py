# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The simulated SO-101 behind a relay, with a chunk policy (ACT) and faults, but no driver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from policy_msgs.msg import JointCommand
from sensor_msgs.msg import Image, JointState

from examples.demos.runner import LoggedProcess
from robot_operator.nodes.fault_trial import RESTS
from tools.robot_faults.cases import (
    SOON_MS,
    BadStart,
    Case,
    of_people,
    of_processes,
    planned,
)
from tools.robot_faults.relay import COMMAND, RelayedStack, RelayedStream


def _set_stamp(new: Any, old: Any) -> None:
    new.header.stamp = old.header.stamp


_CAMERAS = ("front", "wrist")
_TOPICS = {"joint_states": JointState, **{f"{name}/image_raw": Image for name in _CAMERAS}}


class ArmStack(RelayedStack):
    """All processes of an arm and its policy."""

    driver_command, bundle = "arm_sim_node", "so101_reach"
    policy_command, estop_listeners = "act_policy_node", 1
    streams: ClassVar = {
        **{
            topic.split("/")[0]: RelayedStream(
                kind=kind, source=f"sim/{topic}", sink=topic, stamp=_set_stamp
            )
            for topic, kind in _TOPICS.items()
        },
        COMMAND: RelayedStream(kind=JointCommand, source="joint_command", sink="sim/joint_command"),
    }
    phase = "FOLLOWING"

    def _emulate(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        topics = {topic: f"sim/{topic}" for topic in (*_TOPICS, "joint_command")}
        self.emulator = self._start("arm_sim_node", {"episode_s": 60.0}, remappings=topics)
        return {}

    def start_driver(self) -> LoggedProcess:
        self.driver_status = None
        return self.emulator

    def walk(self, vx_mps: float = 0.0, for_s: float = 1.0) -> None:
        """Reach for the cube; the arm follows commands without `take_control`."""
        self.operator.wait_for_robot()
        self.set_off(vx_mps, for_s)

    def is_rest(self, command: Any) -> bool:
        return command.mode in RESTS

    def valid_ns(self, command: Any) -> int:
        return int(command.valid_for.sec * 1_000_000_000 + command.valid_for.nanosec)


def cases() -> list[Case]:
    """Return all fault cases of a reaching arm, in the order of the table."""
    ends = [
        (f"{kind}:{name}", within_ms)
        for kind in ("drop", "freeze")
        for name, within_ms in {**dict.fromkeys(_CAMERAS, 1800), "joint_states": 1300}.items()
    ]
    either = [
        *(f"repeat:{name}" for name in (*_CAMERAS, "joint_states")),
        *(f"{kind}:{name}.data" for kind in ("garbage", "zero") for name in _CAMERAS),
        *(f"late:{name}=0.2" for name in _CAMERAS),
        *(f"slow:{name}=0.3" for name in _CAMERAS),
        *(f"drop:{name}+0.2" for name in _CAMERAS),
        *("late:joint_states=0.1", "slow:joint_states=0.1", "drop:joint_states+0.1"),
        *(f"{kind}:joint_states.position" for kind in ("zero", "hold")),
        *("bias:joint_states.position=0.3", "nan:joint_states.position+0.02"),
        *("late:command=0.1", "slow:command=0.1", "loss:command=0.2", "drop:command+0.1"),
        *("repeat:command", "bias:command.position=0.3", "nan:command.position"),
    ]
    return [
        *(planned("robot", text, within_ms=within_ms) for text, within_ms in ends),
        *(
            planned("robot", text, within_ms=SOON_MS)
            for text in ("nan:joint_states.position", "drop:command")
        ),
        *(planned("robot", text, goes_on=None) for text in either),
        *(
            case
            for case in (*of_processes(), *of_people())
            if "second" not in case.what and ("policy" in case.what or "e-stop" in case.what)
        ),
    ]


def bad_starts() -> list[BadStart]:
    """Return no cases, since nothing takes control."""
    return []
