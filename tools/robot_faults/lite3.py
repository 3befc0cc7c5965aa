# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The Lite3: its emulated motion host on UDP, and its faults."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from socket import SOCK_DGRAM, socket
from typing import Any

from rcl_interfaces.srv import SetParameters
from std_srvs.srv import Trigger

from robot_operator.nodes.fault_trial import set_faults
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

HERE = "127.0.0.1"


class Lite3Stack(Stack):
    """All processes of a Lite3."""

    driver_command, bundle = "lite3_driver", "lite3_walk"

    def _emulate(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        host_port, state_port = _free_ports()
        ports = {"host_address": HERE, "host_port": host_port, "state_port": state_port}
        self.emulator = self._start(
            "lite3_emulator", {**ports, "state_address": HERE, **parameters}
        )
        return {**ports, "interface_address": HERE, "angular_velocity_checked": True}

    def _listen(self) -> None:
        super()._listen()
        node = self.operator.node
        self._parameters = node.create_client(SetParameters, "lite3_emulator/set_parameters")
        self._turn = node.create_client(Trigger, "lite3_emulator/turn_by_hand")
        self._upright = node.create_client(Trigger, "lite3_emulator/set_upright")

    def turn_by_hand(self) -> None:
        """Ask the emulator to turn the robot."""
        self.operator.call(self._turn, "turn_by_hand")

    def set_upright(self) -> None:
        """Ask the emulator to put the robot in its start pose."""
        self.operator.call(self._upright, "set_upright")

    def set_faults(self, *faults: str) -> None:
        set_faults(self.operator, self._parameters, faults or [""])


def cases() -> list[Case]:
    """Return all fault cases of a walking robot, in the order of the table."""
    return [
        *of_the_robot("FL_HipY_joint", "FL_Knee_joint", "FR_Knee_joint"),
        *of_the_network(),
        planned("network", "foreign:state", goes_on=True),
        *(
            planned("network", f"forged:state+{for_s}", goes_on=True)
            for for_s in ("0.001=5000", "1=5000", "0.001=40")
        ),
        planned("network", "occupied:host", goes_on=True),
        *(
            planned("network", f"{kind}:state", within_ms=SOON_MS)
            for kind in ("length", "firmware")
        ),
        *of_a_lost_link(),
        *of_processes(),
        *of_people(),
    ]


def bad_starts() -> list[BadStart]:
    """Return all cases in which control must be refused."""
    return [
        BadStart(what="another program has the port", beside=_occupied_port, says="in use"),
        BadStart(
            what="an interface address that this machine does not have",
            driver={"interface_address": "192.0.2.1"},
            says="192.0.2.1",
        ),
        BadStart(
            what="a host to which there is no route",
            driver={"host_address": "192.0.2.1"},
            says="no state",
        ),
        BadStart(
            what="another controller is in charge",
            emulator={"faults": ["occupied:host"]},
            says="another controller",
        ),
        BadStart(
            what="different firmware: frames with an unknown code",
            emulator={"faults": ["firmware:state"]},
            says="0x0A06",
        ),
        BadStart(
            what="frames of the wrong length",
            emulator={"faults": ["length:state"]},
            says="wrong_length",
        ),
        BadStart(
            what="angles outside the joints' limits",
            emulator={"faults": ["order:joint_states"]},
            says="the position of",
        ),
        BadStart(
            what="angular velocities in degrees/s, robot turned by hand",
            emulator={"angular_velocity_unit": "deg/s"},
            act=lambda robot: robot.turn_by_hand(),
            says="angular_velocity_unit: deg/s",
        ),
    ]


@contextmanager
def _occupied_port() -> Iterator[dict[str, int]]:
    """Have another program occupy the port for state messages."""
    with socket(type=SOCK_DGRAM) as taken:
        taken.bind((HERE, 0))
        yield {"state_port": taken.getsockname()[1]}


def _free_ports() -> tuple[int, int]:
    """Return two UDP ports that are currently free."""
    with socket(type=SOCK_DGRAM) as one, socket(type=SOCK_DGRAM) as other:
        one.bind((HERE, 0))
        other.bind((HERE, 0))
        return one.getsockname()[1], other.getsockname()[1]
