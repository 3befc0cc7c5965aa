# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Requests to the robot's built-in controller, which must release the robot and is then monitored.

The `motion_switcher` service names the active controller; an empty name means that the robot is
free. Answers may be lost, so unanswered requests are repeated. An answer is accepted only if it
repeats the number of the newest request.
"""

import json
from typing import Final

from unitree_driver.wire import (
    RobotTopic,
    ServiceRequest,
    ServiceResponse,
    request,
    request_numbers,
)

CHECK_MODE, SELECT_MODE, RELEASE_MODE = 1001, 1002, 1003
"""Codes of requests to `motion_switcher`."""
STAND_DOWN: Final = 1005
"""Code of the request to `sport` that makes the robot lie down."""
_AGAIN_S = 1.0
"""Time after which an unanswered request is repeated (answers take 21 to 48 ms)."""
_RELEASE_AGAIN_S = 2.0
_WATCH_S = 1.0
_SUCCESS = 0
_LONGEST_NAME = 64
"""Maximum length of a name: anyone in the DDS domain can answer, and names are shown and logged."""


class MotionService:
    """Creates the requests that release or select the built-in controller, and reads the answers.

    All times are on the same clock, whose zero is arbitrary.

    Attributes:
        active: Name of the active controller; "" if the robot is free; None before any answer.
        released: Name of the controller that was released on request, or "". If control is
            requested again before the controller's selection is confirmed, the name is restored.
        error: Error in the newest answer, or "".
        unanswered: Number of requests since the newest answer.
    """

    def __init__(self) -> None:
        self._numbers = request_numbers()
        self._pending: ServiceRequest | None = None
        self._sent_s = self._released_s = -_AGAIN_S
        self._stood_down = False
        self.active: str | None = None
        self.released = self._selected = self.error = ""
        self.unanswered = 0

    def begin(self) -> None:
        """Forget earlier requests and answers; called when control is requested or given back."""
        self._pending, self.active, self.released, self.error = None, None, "", ""
        self._sent_s = self._released_s = -_RELEASE_AGAIN_S
        self._stood_down, self.unanswered = False, 0

    def advance(self, now_s: float, *, lies: bool, lies_down: bool) -> list[bytes]:
        """Return the next requests needed to free the robot; empty if none is due.

        Args:
            now_s: Current time.
            lies: True if the robot is lying down or does not have to lie down.
            lies_down: True if the robot's controller can make it lie down.
        """
        if self._pending is not None and now_s - self._sent_s < _AGAIN_S:
            return []
        if self.active is None:
            return self._ask(CHECK_MODE, "{}", now_s)
        if not self.active:
            return []
        if not lies:
            return self._stand_down(lies_down)
        if now_s - self._released_s >= _RELEASE_AGAIN_S:
            self._released_s, self.released = now_s, self.active
            return self._ask(RELEASE_MODE, "{}", now_s)
        return self._ask(CHECK_MODE, "{}", now_s)

    def watch(self, now_s: float) -> list[bytes]:
        """Return a request for the active controller's name if one is due; otherwise []."""
        if now_s - self._sent_s < _WATCH_S:
            return []
        return self._ask(CHECK_MODE, "{}", now_s)

    def hear(self, answer: ServiceResponse) -> None:
        asked = self._pending
        if asked is None or (answer.identity, answer.api) != (asked.identity, asked.api):
            return
        self._pending, self.unanswered = None, 0
        self.error = "" if answer.code == _SUCCESS else f"code {answer.code}"
        if answer.api == CHECK_MODE and not self.error:
            name = _name(answer.data)
            if name is None:
                self.error = f"CheckMode was answered with {answer.data[:80]!r}"
            else:
                self.active = name
                if name:
                    self._selected = ""
                elif not self.released:
                    self.released = self._selected

    def select(self) -> list[bytes]:
        """Return the request to select the released controller again; [] if none was released."""
        if not self.released:
            return []
        self._selected, self.released = self.released, ""
        parameter = json.dumps({"name": self._selected}, separators=(",", ":"))
        return [
            _frame(
                RobotTopic.SWITCHER_REQUEST,
                ServiceRequest(next(self._numbers), SELECT_MODE, parameter),
            )
        ]

    def problem(self) -> str:
        """Return why the robot is not free, or "" if it is."""
        if self.active is None:
            why = self.error or f"{self.unanswered} requests unanswered"
            return (
                "the robot's motion_switcher service does not report which controller is active "
                f"({why}); old firmware has no such service: docs/unitree.md"
            )
        if self.active:
            more = f", {self.error}" if self.error else ""
            return f"the robot's own controller `{self.active}` is still active{more}"
        return ""

    def _stand_down(self, lies_down: bool) -> list[bytes]:
        if self._stood_down or not lies_down:
            return []
        self._stood_down = True
        return [
            _frame(RobotTopic.SPORT_REQUEST, ServiceRequest(next(self._numbers), STAND_DOWN, "{}"))
        ]

    def _ask(self, api: int, parameter: str, now_s: float) -> list[bytes]:
        self._pending, self._sent_s = ServiceRequest(next(self._numbers), api, parameter), now_s
        self.unanswered += 1
        return [_frame(RobotTopic.SWITCHER_REQUEST, self._pending)]


def _frame(topic: RobotTopic, asked: ServiceRequest) -> bytes:
    return bytes([topic]) + request(asked)


def _name(data: str) -> str | None:
    """Return the controller's name in an answer to CHECK_MODE; None if the answer is invalid."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return None
    name = content.get("name") if isinstance(content, dict) else None
    is_name = isinstance(name, str) and len(name) <= _LONGEST_NAME and name.isprintable()
    return name if is_name else None
