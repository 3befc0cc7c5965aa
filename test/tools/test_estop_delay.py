# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command that measures an e-stop counts presses of a robot that walks, and no others."""

from __future__ import annotations

import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from tools.estop_delay import measure

pytestmark = pytest.mark.ros


class Robot:
    """A double of a robot under control: each press meets it walking, or stopped by itself."""

    phase = "FOLLOWING"
    emulator = SimpleNamespace(pid=0)

    def __init__(self, walks: Sequence[bool]) -> None:
        self._walks = list(walks)
        self._events: list[SimpleNamespace] = []
        self.operator = SimpleNamespace(
            node=SimpleNamespace(create_publisher=lambda *_: SimpleNamespace(publish=self._press)),
            stand_up=self._stand_up,
            wait=lambda time_s: None,
            move=lambda vx_mps: None,
            let_go=lambda: None,
            demand=lambda request: "",
            status=SimpleNamespace(reason="late"),
        )

    def _add(self, event: str) -> None:
        self._events.append(SimpleNamespace(event=event, unix_ns=time.time_ns()))

    def _stand_up(self) -> None:
        self._add("following")
        if not self._walks[0]:
            self._add("damped")

    def _press(self, message: Any) -> None:
        if self._walks.pop(0):
            self._add("damped")

    def events(self) -> list[SimpleNamespace]:
        return self._events

    def ask_driver(self, service: str) -> tuple[bool, str]:
        return True, ""

    def wait_until(self, reached: Any, what: str) -> None:
        assert reached(), what


def test_a_robot_that_stopped_by_itself_is_no_try() -> None:
    robot = Robot([True, False, True])

    delays_ms = measure(robot, 2, busy=0)  # type: ignore[arg-type]  # a double

    assert len(delays_ms) == 2
    assert min(delays_ms) >= 0.0
