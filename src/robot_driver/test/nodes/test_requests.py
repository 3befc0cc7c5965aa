# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""While the e-stop is pressed, nothing passes that could end the braking."""

from typing import Any, cast
from unittest.mock import ANY

import numpy as np

from robot_driver.interfaces import WireCommand
from robot_driver.nodes.requests import Gate
from robot_driver.supervisor import LinkSupervisor
from testkit.wording import check_wording

from ..test_holding_arm import arm_wire_command

COMMAND = arm_wire_command(1, 0, np.zeros(3), 0, 1)


class Asked:
    """What a link was asked for, in order."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, Any]] = []

    def follow(self, command: WireCommand) -> None:
        self.requests.append(("follow", command))

    def damp(self, reason: str) -> bool:
        self.requests.append(("damp", reason))
        return True

    def take(self, obstacles: list[str]) -> bool:
        self.requests.append(("take", obstacles))
        return True


def gate_with_link() -> tuple[Gate, Asked]:
    gate, link = Gate(), Asked()
    gate.connect(cast("LinkSupervisor[Any]", link))
    return gate, link


def test_command_passes_where_there_is_no_reason_to_refuse_it() -> None:
    gate, link = gate_with_link()
    gate.release()
    gate.see_senders("")
    gate.follow(COMMAND)
    gate.take()
    assert link.requests == [("follow", COMMAND), ("take", [])]


def test_pressed_estop_holds_commands_and_control_back_until_it_is_released() -> None:
    gate, link = gate_with_link()
    gate.press()
    gate.follow(COMMAND)
    gate.take()
    (damp, reason), (take, obstacles) = link.requests
    assert (damp, take, obstacles) == ("damp", "take", [reason])
    check_wording(reason)
    gate.release()
    gate.follow(COMMAND)
    assert link.requests[2:] == [("damp", ANY), ("follow", COMMAND)]


def test_second_sender_is_an_obstacle_to_control_alone() -> None:
    gate, link = gate_with_link()
    gate.see_senders("a, b")
    gate.follow(COMMAND)
    gate.take()
    gate.see_senders("")
    gate.take()
    assert link.requests == [("follow", COMMAND), ("take", ["a, b"]), ("take", [])]


def test_estop_pressed_before_there_is_a_link_is_not_forgotten() -> None:
    gate, link = Gate(), Asked()
    gate.press()
    gate.connect(cast("LinkSupervisor[Any]", link))
    gate.follow(COMMAND)
    gate.take()
    assert link.requests == [("take", gate.reasons)]
    gate.connect(None)
    gate.follow(COMMAND)
    gate.press()
    assert len(link.requests) == 1
