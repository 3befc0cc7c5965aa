# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Map requests to the nodes that grant them, and publish `estop`; used for keys and scripts.

The driver takes control and gives it back; the policy node grants everything else. Damp and reset
also go to the driver: the robot must be damped even if the policy node has exited, and the driver
has its own latched e-stop to release. An e-stop is published on `estop` before it is requested; a
reset publishes the e-stop's release.
"""

import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from policy_msgs.srv import SetAuthority, SwitchState
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from policy_inference.nodes import qos
from policy_inference.nodes.rclpy_gaps import full_name
from robot_operator.requests import (
    OF_BOTH,
    OF_CHUNKS,
    OF_DIAL,
    OF_DRIVER,
    OF_SET,
    OperatorRequest,
)

_ACKNOWLEDGE_TIMEOUT_S = 1.0
_SETTLED_S = 2.0
_KINDS = {
    **{request: (SwitchState, request.value) for request in OF_SET},
    **dict.fromkeys(OF_DIAL, (SetAuthority, "set_authority")),
}
"""Type and name of each service that is not a Trigger with the request's name."""


class Reach:
    """Whether a publisher reaches all subscribers of its topic.

    With SROS 2, Cyclone DDS 0.10 also lists subscriptions that were deleted before this process
    joined. They never match; so with SROS 2, a number of matches unchanged for 2 s also counts.
    """

    def __init__(self, node: Node, publisher: Publisher) -> None:
        self._node, self._publisher = node, publisher
        self._matched, self._since_s = 0, time.monotonic()
        self._secured = os.environ.get("ROS_SECURITY_ENABLE") == "true"

    def is_complete(self) -> bool:
        """Return whether there are subscribers and they all receive what is published."""
        matched, now_s = self._publisher.get_subscription_count(), time.monotonic()
        if matched != self._matched:
            self._matched, self._since_s = matched, now_s
        settled = self._secured and now_s - self._since_s > _SETTLED_S
        listed = self._node.count_subscribers(self._publisher.topic_name)
        return bool(matched and (matched >= listed or settled))


class RobotServices:
    """Clients for the services of a policy node and a driver, and the publisher of `estop`."""

    def __init__(self, node: Node, policy_node: str | None, driver_node: str | None) -> None:
        """Create the clients on a node (none for a name that is None), and the publisher."""
        self._node = node
        self._clients: dict[OperatorRequest, dict[str, Any]] = {}
        for request in OperatorRequest:
            owners = [policy_node] if policy_node and request not in OF_DRIVER else []
            owners += [driver_node] if driver_node and request in OF_DRIVER | OF_BOTH else []
            kind, name = _KINDS.get(request, (Trigger, request.value))
            self._clients[request] = {
                owner: node.create_client(kind, f"{owner}/{name}") for owner in owners
            }
        # Transient local: late subscribers receive a press too, until a reset is requested.
        self._estop = node.create_publisher(Bool, "estop", qos.STATUS)
        self._reach = Reach(node, self._estop)

    @property
    def reaches_policy(self) -> bool:
        """True if all services common to policy nodes are available."""
        return all(
            next(iter(clients.values())).service_is_ready()
            for request, clients in self._clients.items()
            if request not in {*OF_DRIVER, *OF_SET, *OF_CHUNKS, *OF_DIAL}
        )

    def granting(self, request: OperatorRequest) -> dict[str, Any]:
        """Return the service clients for a request, keyed by node, the policy node first."""
        return self._clients[request]

    def announce(self, request: OperatorRequest) -> None:
        """Publish a request's effect on `estop`, if any; call before the request is sent."""
        if request in (OperatorRequest.ESTOP, OperatorRequest.RESET):
            self.tell_estop(pressed=request is OperatorRequest.ESTOP)

    def tell_estop(self, *, pressed: bool) -> None:
        """Publish the state of the e-stop on `estop`, for current and later subscribers."""
        self._estop.publish(Bool(data=pressed))

    def is_heard_by(self, name: str) -> bool:
        """Return whether the node with this full name and all other subscribers receive `estop`."""
        infos = self._node.get_subscriptions_info_by_topic(self._estop.topic_name)
        return self._reach.is_complete() and name in map(full_name, infos)

    def wait_for_acknowledgement(self) -> None:
        self._estop.wait_for_all_acked(Duration(seconds=_ACKNOWLEDGE_TIMEOUT_S))

    def ready(self, request: OperatorRequest) -> list[Any]:
        """Return the clients for the available services that grant a request."""
        return [each for each in self._clients[request].values() if each.service_is_ready()]

    def close(self) -> None:
        for clients in self._clients.values():
            for client in clients.values():
                self._node.destroy_client(client)
        self._node.destroy_publisher(self._estop)


def ask_all(
    clients: Sequence[Any],
    asked: Trigger.Request | SwitchState.Request | SetAuthority.Request,
    on_answer: Callable[[Any], None],
    on_end: Callable[[], None],
) -> None:
    """Call these services without waiting.

    Args:
        clients: Clients from `ready`, at least one.
        asked: Request for each client.
        on_answer: Called with each response, or None if a call failed, on the thread of the node's
            executor.
        on_end: Called on the same thread after all answers.
    """
    owed = [*clients]

    def hear(future: Any) -> None:
        owed.pop()
        on_answer(future.result())
        if not owed:
            on_end()

    for client in clients:
        client.call_async(asked).add_done_callback(hear)
