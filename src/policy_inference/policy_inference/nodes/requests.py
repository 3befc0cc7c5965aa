# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Requests to a running policy by service or topic, such as the operator's authority setting.

Subscribes: `authority` (std_msgs/Float64, reliable, depth 1), for all joints. Serves:
`~/set_authority` (policy_msgs/SetAuthority).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from policy_msgs.srv import SetAuthority
from rclpy.node import Node
from std_msgs.msg import Float64

from policy_core.control.authority import AuthorityRequest, Rest, refused
from policy_core.errors import RefusedError, RobotError
from policy_inference.nodes import qos
from policy_inference.nodes.sampling import decoder_for


class ServiceAndTopic:
    """A service that answers requests, and a topic whose refused requests are logged."""

    def __init__(
        self,
        node: Node,
        service: tuple[type[Any], str, Callable[[Any], str]],
        topic: tuple[type[Any], str, Callable[[Any], bool]],
        report: Callable[[], None],
    ) -> None:
        """Create the service and the subscription.

        Args:
            node: Node that owns both.
            service: Type, name, and the function that executes a request between two ticks; it
                returns the answer, or raises RefusedError.
            topic: Type, name and function for the topic; the function receives the message's
                `data`, and returns False if the data changes nothing.
            report: Publishes the status.
        """
        self._node, self._report, self._topic = node, report, topic[1]
        self._decode, self._take, self._execute = decoder_for(topic[0]), topic[2], service[2]
        self._service = node.create_service(
            service[0], service[1], self._serve, qos_profile=qos.REQUESTS
        )
        self._subscription = node.create_subscription(
            *topic[:2], self._hear, qos.SWITCH, raw=True, event_callbacks=qos.NoEvents()
        )

    def _serve(self, request: Any, response: Any) -> Any:
        try:
            response.message, response.success = self._execute(request), True
        except RefusedError as error:
            response.message = str(error)
        self._report()
        return response

    def _hear(self, data: bytes) -> None:
        try:
            if not self._take(self._decode(data).data):
                return
        except (RefusedError, RobotError) as error:
            self._node.get_logger().warning(f"{self._topic}: {error}", throttle_duration_sec=1.0)
        self._report()

    def close(self) -> None:
        self._node.destroy_service(self._service)
        self._node.destroy_subscription(self._subscription)


class AuthorityRequests:
    """Serves `~/set_authority`, and subscribes to `authority`."""

    def __init__(
        self, node: Node, ask: Callable[[AuthorityRequest], None], report: Callable[[], None]
    ) -> None:
        """Create the service and the subscription.

        Args:
            node: Node that owns both.
            ask: Executes a request between two ticks; raises RefusedError if that is not possible.
            report: Publishes the status.
        """
        self._ask = ask
        self._heard: float | None = None
        service = SetAuthority, "~/set_authority", self._set
        self.close = ServiceAndTopic(
            node, service, (Float64, "authority", self._hear), report
        ).close

    def _set(self, request: SetAuthority.Request) -> str:
        self._heard = None
        asked = AuthorityRequest(request.authority, _rest(request.rest), (*request.joints,))
        self._ask(asked)
        return str(asked)

    def _hear(self, share: float) -> bool:
        if share == self._heard:  # a publisher that repeats its value
            return False
        self._ask(AuthorityRequest(share))
        self._heard = share
        return True


def _rest(number: int) -> Rest:
    if number not in [*Rest]:
        names = ", ".join(f"{each.value} ({each.name})" for each in Rest)
        raise refused([f"rest: expected {names}; found {number}"])
    return Rest(number)
