# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The operator's authority setting: the policy's share of the command in RUN.

Subscribes: `authority` (std_msgs/Float64, reliable, depth 1), of all joints.
Serves: `~/set_authority` (policy_msgs/SetAuthority).
"""

from __future__ import annotations

from collections.abc import Callable

from policy_msgs.srv import SetAuthority
from rclpy.node import Node
from std_msgs.msg import Float64

from policy_core.control.authority import AuthorityRequest, Rest, refused
from policy_core.errors import RefusedError, RobotError
from policy_inference.nodes import qos
from policy_inference.nodes.sampling import decoder_for


class AuthorityService:
    """Serves `~/set_authority`, and subscribes to `authority`."""

    def __init__(
        self, node: Node, ask: Callable[[AuthorityRequest], None], report: Callable[[], None]
    ) -> None:
        """Create service and subscription.

        Args:
            node: Owner of both.
            ask: Applies a request between two ticks; raises RefusedError if it is not possible.
            report: Publishes the status.
        """
        self._node, self._ask, self._report = node, ask, report
        self._decode = decoder_for(Float64)
        self._heard: float | None = None
        self._service = node.create_service(
            SetAuthority, "~/set_authority", self._set, qos_profile=qos.REQUESTS
        )
        self._topic = node.create_subscription(
            Float64, "authority", self._hear, qos.SWITCH, raw=True, event_callbacks=qos.NoEvents()
        )

    def _set(
        self, request: SetAuthority.Request, response: SetAuthority.Response
    ) -> SetAuthority.Response:
        self._heard = None
        try:
            asked = AuthorityRequest(request.authority, _rest(request.rest), (*request.joints,))
            self._ask(asked)
        except RefusedError as error:
            response.message = str(error)
        else:
            response.success, response.message = True, str(asked)
        self._report()
        return response

    def _hear(self, data: bytes) -> None:
        try:
            share = self._decode(data).data
            if share == self._heard:  # a publisher that repeats its value
                return
            self._ask(AuthorityRequest(share))
            self._heard = share
        except (RefusedError, RobotError) as error:
            self._node.get_logger().warning(str(error), throttle_duration_sec=1.0)
        self._report()

    def close(self) -> None:
        self._node.destroy_service(self._service)
        self._node.destroy_subscription(self._topic)


def _rest(number: int) -> Rest:
    if number not in [*Rest]:
        names = ", ".join(f"{each.value} ({each.name})" for each in Rest)
        raise refused([f"rest: expected {names}; found {number}"])
    return Rest(number)
