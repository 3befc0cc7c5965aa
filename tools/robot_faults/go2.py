# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The Go2: its emulated computer on DDS, and its faults."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from examples.demos.runner import LoggedProcess
from robot_operator.requests import OperatorError
from tools.robot_faults.cases import (
    SOON_MS,
    BadStart,
    Case,
    of_a_lost_link,
    of_people,
    of_processes,
    of_the_network,
    of_the_robot,
    planned,
)
from tools.robot_faults.stack import Stack

_INTERFACE = "lo"


class Go2Stack(Stack):
    """All processes of a Go2."""

    driver_command, bundle = "go2_driver", "go2_walk"
    robot = "go2"

    def _emulate(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        self._fault_file = self._folder / "faults.txt"
        given = dict(parameters)
        self._first_faults: Sequence[str] = given.pop("faults", ())
        self._fault_file.write_text("\n".join(self._first_faults), "utf-8")
        words = ["unitree_emulator", "--interface", _INTERFACE]
        for name, value in {"robot": self.robot, "fault_file": self._fault_file, **given}.items():
            words += [f"--{name.replace('_', '-')}", str(value)]
        self.emulator = self._nodes.add(LoggedProcess(words, self._log("unitree_emulator")))
        return {
            "network_interface": _INTERFACE,
            "domain_id": int(os.environ["ROS_DOMAIN_ID"]),
            "remote_required": False,
            "joint_state_rate_hz": 200.0,  # all processes share one computer
        }

    def set_faults(self, *faults: str) -> None:
        """Write the emulator's fault file, and wait until the emulator has adopted the faults."""
        asked_ns = time.time_ns()
        new = self._fault_file.with_suffix(".new")
        new.write_text("\n".join(faults), "utf-8")
        new.replace(self._fault_file)
        expected = ", ".join(faults) or "none"

        def taken() -> bool:
            events = self.events_since(asked_ns)
            return any(event.event == "faults" and event.who == expected for event in events)

        self.wait_until(taken, f"the faults {expected}")

    def turn_by_hand(self) -> None:
        """Plan a turn of the robot, in addition to the initial faults; wait until it has ended."""
        # just after its start, the robot would topple
        self.wait_until(lambda: self.driver_status is not None, "a status of the driver")
        self.operator.wait(1.0)
        self.fail("turned:host", *self._first_faults)
        self.operator.wait(2.5)

    def link_pid(self) -> int:
        """Return the id of the driver's process that publishes commands."""
        pids = [pid for pid in self._children() if "link" in _command_line(pid)]
        if len(pids) != 1:
            raise OperatorError(f"expected one link process of the driver, found {pids}")
        return pids[0]


def cases() -> list[Case]:
    """Return all fault cases of a walking robot, in the order of the table."""
    return cases_with("FL_thigh_joint", "FL_calf_joint", "FR_calf_joint")


def cases_with(*legs: str) -> list[Case]:
    """Return the cases of a Unitree robot; see `of_the_robot` for `legs`."""
    return [
        *of_the_robot(*legs),
        *(
            planned("robot", text, within_ms=SOON_MS)
            for text in ("motors:state=6", "not_unit:imu", "xyzw:imu")
        ),
        planned("robot", "press:L2", "press:B", within_ms=SOON_MS),
        *(
            planned("robot", text, goes_on=True)
            for text in ("press:L2", "stick:forward=1", "off:remote", "battery:state=5")
        ),
        planned("robot", "returned:host", taken_over=True),
        *of_the_network(),
        *(
            planned("network", f"{kind}:state", within_ms=SOON_MS)
            for kind in ("crc", "length", "tick")
        ),
        planned("network", "crc:state+0.02", goes_on=True),
        planned("network", "tick:state+0.02", goes_on=True),
        *of_a_lost_link(),
        *of_processes(),
        *of_people(),
    ]


def bad_starts() -> list[BadStart]:
    """Return all cases in which control must be refused."""
    return [
        BadStart(
            what="an interface that this machine does not have",
            driver={"network_interface": "nowhere0"},
            says="nowhere0",
        ),
        BadStart(what="a different DDS domain", driver={"domain_id": 101}, says="no state"),
        BadStart(what="a G1 instead of a Go2", emulator={"robot": "g1"}, says="a different kind"),
        BadStart(
            what="the robot's own controller is not released",
            emulator={"faults": ["stubborn:host"]},
            says="ai",
        ),
        BadStart(what="wrong CRC", emulator={"faults": ["crc:state"]}, says="wrong_crc"),
        BadStart(
            what="half of each message", emulator={"faults": ["length:state"]}, says="wrong_length"
        ),
        BadStart(
            what="a tick counter that does not advance",
            emulator={"faults": ["tick:state"]},
            says="old",
        ),
        BadStart(
            what="only 6 of 12 motors report",
            emulator={"faults": ["motors:state=6"]},
            says="6 of 20 motors",
        ),
        BadStart(
            what="a quaternion whose length is not 1",
            emulator={"faults": ["not_unit:imu"]},
            says="quaternion",
        ),
        BadStart(
            what="a quaternion in the wrong order",
            emulator={"faults": ["xyzw:imu"]},
            says="rpy_disagrees",
        ),
        BadStart(
            what="no remote control",
            emulator={"faults": ["off:remote"]},
            driver={"remote_required": True},
            says="wireless remote",
        ),
        BadStart(
            what="angular velocities in degrees/s, robot turned by hand",
            emulator={"faults": ["degrees:imu"]},
            act=lambda robot: robot.turn_by_hand(),
            says="the unit is not rad/s",
        ),
    ]


def _command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text("utf-8").replace("\0", " ")
