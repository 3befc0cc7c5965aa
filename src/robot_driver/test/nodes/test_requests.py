# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""While the e-stop is pressed, or two send commands, nothing passes that could end the braking."""

from typing import Any, cast

import numpy as np
import pytest

from robot_driver.interfaces import WireCommand
from robot_driver.nodes.requests import Gate
from robot_driver.supervisor import LinkSupervisor

COMMAND = WireCommand(
    sequence=1,
    mode=0,
    valid_for_ns=1,
    values=np.zeros((12, 5)),
    effort_limit=np.zeros(12),
    received_ns=0,
)


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


def connected() -> tuple[Gate, Asked]:
    gate, link = Gate(), Asked()
    gate.connect(cast("LinkSupervisor[Any]", link))
    return gate, link


def test_command_passes_where_there_is_no_reason_to_refuse_it() -> None:
    gate, link = connected()
    gate.release()
    gate.see_senders("")
    gate.follow(COMMAND)
    gate.take()
    assert link.requests == [("follow", COMMAND), ("take", [])]


def test_pressed_estop_holds_commands_and_control_back_until_it_is_released() -> None:
    gate, link = connected()
    gate.press()
    gate.follow(COMMAND)
    gate.take()
    (damp, reason), (take, obstacles) = link.requests
    assert (damp, take, obstacles) == ("damp", "take", [reason])
    assert "the e-stop was pressed: ~/reset releases it" in reason
    gate.release()
    gate.follow(COMMAND)
    assert link.requests[2:] == [("damp", "the e-stop was released"), ("follow", COMMAND)]


def test_second_sender_brakes_until_it_is_gone() -> None:
    gate, link = connected()
    gate.see_senders("2 publishers (a, b)")
    gate.follow(COMMAND)
    gate.see_senders("")
    gate.follow(COMMAND)
    assert link.requests == [
        ("damp", "2 publishers (a, b)"),
        ("damp", "the other publisher on joint_command is gone"),
        ("follow", COMMAND),
    ]


@pytest.mark.parametrize("left", ["estop", "senders"])
def test_what_is_over_does_not_open_while_something_else_is_not(left: str) -> None:
    gate, link = connected()
    gate.press()
    gate.see_senders("2 publishers")
    if left == "estop":
        gate.see_senders("")
    else:
        gate.release()
    assert link.requests[-1] == ("damp", gate.reasons[0])
    gate.follow(COMMAND)
    assert link.requests[-1][0] == "damp"


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
