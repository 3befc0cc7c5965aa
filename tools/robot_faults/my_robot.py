# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The robot of examples/my_robot: its simulator behind a relay, its driver, and its faults.

Build and source its workspace first (docs/bring_your_robot.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from my_robot_msgs.msg import LowCommand, LowState

from tools.robot_faults.cases import (
    SOON_MS,
    BadStart,
    Case,
    of_people,
    of_processes,
    planned,
)
from tools.robot_faults.relay import COMMAND, RelayedStack, RelayedStream

_WATCHDOG_NS = 1_000_000_000
_STATE, _COMMAND = "/my_robot/low_state", "/my_robot/low_command"
_FIELDS = (
    *("angle_deg", "speed_deg_s", "torque_nm"),
    *("orientation_wxyz", "gyro_deg_s", "acceleration_g"),
)


class MyRobotStack(RelayedStack):
    """All processes of a my_robot."""

    driver_command, bundle = "my_robot_driver", "lite3_walk"
    streams: ClassVar = {
        "state": RelayedStream(
            kind=LowState,
            source=f"/sim{_STATE}",
            sink=_STATE,
            stamp=lambda new, old: setattr(new, "tick_ms", old.tick_ms),
        ),
        COMMAND: RelayedStream(kind=LowCommand, source=_COMMAND, sink=f"/sim{_COMMAND}"),
    }

    def _emulate(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        topics = {topic: f"/sim{topic}" for topic in (_STATE, _COMMAND)}
        self.emulator = self._start("my_robot_simulator", {}, remappings=topics)
        return {}

    def is_rest(self, command: Any) -> bool:
        return command.mode == LowCommand.MODE_RELEASE or not command.stiffness.any()

    def valid_ns(self, command: Any) -> int:
        return _WATCHDOG_NS


def cases() -> list[Case]:
    """Return all fault cases of a walking robot, in the order of the table."""
    fields = [f"state.{field}" for field in _FIELDS]
    either = [
        *(f"{kind}:{field}" for kind in ("zero", "hold") for field in fields),
        *("bias:state.angle_deg=20", "bias:state.speed_deg_s=200", "bias:state.gyro_deg_s=30"),
        *(f"drop:{way}+0.03" for way in ("state", COMMAND)),
        *(f"{fault}:{way}={value}" for fault, value in _OF_LINKS for way in ("state", COMMAND)),
        *("nan:command.angle_deg", "bias:command.angle_deg=20", f"zero:{COMMAND}.angle_deg"),
    ]
    return [
        *(planned("network", f"{kind}:state", within_ms=SOON_MS) for kind in _STOPS),
        *(planned("network", f"{kind}:{COMMAND}") for kind in _STOPS),
        planned("network", "repeat:state"),
        *(planned("robot", f"nan:{field}", within_ms=SOON_MS) for field in fields),
        *(planned("robot", f"nan:{field}+0.02", goes_on=True) for field in fields),
        *(planned("robot", text, goes_on=None) for text in either),
        *of_processes(),
        *of_people(),
    ]


_STOPS = ("drop", "freeze")
_OF_LINKS = (("slow", 0.03), ("late", 0.02), ("loss", 0.1))


def bad_starts() -> list[BadStart]:
    """Return no cases, since the drivers' conformance suite covers them."""
    return []
