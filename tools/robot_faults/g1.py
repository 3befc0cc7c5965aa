# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The G1: its emulated computer on DDS, and its faults.

The suite includes no G1 policy; the environment variable `G1_BUNDLE` names the folder of one
(docs/isaac_lab.md).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from robot_operator.requests import OperatorError
from tools.robot_faults import go2
from tools.robot_faults.cases import BadStart, Case
from tools.robot_faults.go2 import Go2Stack

BUNDLE = "G1_BUNDLE"
_HANGS, _SETTLES_S = "hung:host", 1.5
_OF_A_GO2 = (
    "a G1 instead of a Go2",
    "only 6 of 12 motors report",
    # the hoist holds it
    "angular velocities in degrees/s, robot turned by hand",
)


class G1Stack(Go2Stack):
    """All processes of a G1, which hangs from a hoist until the policy runs."""

    driver_command, robot = "g1_driver", "g1"

    def __init__(self, folder: Path, **parameters: Any) -> None:
        self.bundle = os.environ[BUNDLE]
        super().__init__(folder, **parameters)

    def _emulate(self, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        faults = [_HANGS, *parameters.get("faults", ())]
        return {**super()._emulate({**parameters, "faults": faults}), "hung": True}

    def stand_up(self) -> None:
        """Run the policy, then let the robot down onto its feet."""
        super().stand_up()
        self.set_faults()
        self.operator.wait(_SETTLES_S)

    def set_off_again(self) -> None:
        raise OperatorError("a G1 that has fallen cannot get up by itself")


def cases() -> list[Case]:
    """Return the Go2's cases that a G1, which has two legs and no foot contacts, can have.

    What a Go2 survives may make a G1 fall: the physics decide.
    """
    return [
        replace(case, goes_on=None) if case.group == "robot" and case.goes_on else case
        for case in go2.cases_with("left_hip_pitch_joint", "left_knee_joint", "right_knee_joint")
        if "contact" not in case.what and "order:" not in case.what
    ]


def bad_starts() -> list[BadStart]:
    """Return all cases in which control must be refused."""
    return [
        *(start for start in go2.bad_starts() if start.what not in _OF_A_GO2),
        BadStart(what="a Go2 instead of a G1", emulator={"robot": "go2"}, says="a different kind"),
        BadStart(
            what="a G1 with 23 joints", emulator={"faults": ["machine:state=4"]}, says="23 joints"
        ),
        BadStart(what="the robot does not hang", driver={"hung": False}, says="hang it up"),
    ]
