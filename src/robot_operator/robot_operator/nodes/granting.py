# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Asks the policy node and the robot's driver for what joystick and keys ask for."""

import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.node import Node
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from policy_inference.nodes import qos
from robot_operator.requests import OF_DRIVER, Request

_KEPT = 50
_OF_BOTH = frozenset((Request.DAMP, Request.RESET))
"""Asked of the driver as well: the robot must be damped where the policy node is gone, too, and a
driver has an e-stop of its own to release."""


class News:
    """What happened: logged, and kept for a screen."""

    def __init__(self, logger: Any) -> None:
        """Begin without any."""
        self._logger, self._lock = logger, threading.Lock()
        self._kept: deque[str] = deque(maxlen=_KEPT)
        self.refusal = ""
        """Of the newest request; empty while there is none."""

    @property
    def newest(self) -> list[str]:
        """The newest of them, each with its time of day, the oldest first."""
        with self._lock:
            return [*self._kept]

    def refuse(self, text: str) -> None:
        """Tell a refusal, and keep it until the next request."""
        self.refusal = text
        self.tell(text, wrong=True)

    def tell(self, text: str, *, wrong: bool = False) -> None:
        """Add one, `wrong` if it is not as it should be."""
        for line in text.splitlines():
            with self._lock:
                self._kept.append(f"{time.strftime('%H:%M:%S')}  {line}")
            if wrong:
                self._logger.error(line)
            else:
                self._logger.info(line)


class Granting:
    """Clients of all services, and the topic `estop`; answers become news."""

    def __init__(self, node: Node, policy_node: str, driver_node: str, news: News) -> None:
        """Create them on the node."""
        self._news, self._node = news, node
        self._clients: dict[Request, list[Any]] = {}
        for request in Request:
            owners = [] if request in OF_DRIVER else [policy_node]
            owners += [driver_node] if request in OF_DRIVER | _OF_BOTH else []
            self._clients[request] = [
                node.create_client(Trigger, f"{owner}/{request.value}") for owner in owners]
        # Latched: a policy node that comes later hears of it as well, until a reset is asked for.
        self._estop = node.create_publisher(Bool, "estop", qos.STATUS)

    @property
    def reaches_policy(self) -> bool:
        """Whether all services of the policy node are there."""
        return all(clients[0].service_is_ready() for request, clients in self._clients.items()
                   if request not in OF_DRIVER)

    def close(self) -> None:
        """Destroy them."""
        for clients in self._clients.values():
            for client in clients:
                self._node.destroy_client(client)
        self._node.destroy_publisher(self._estop)

    def ask(self, request: Request, answered: Callable[[], None] = lambda: None) -> None:
        """Ask whoever grants it, and return at once.

        Args:
            request: What for. An e-stop goes out on the topic as well; a reset ends that.
            answered: Called when all have answered, on the thread of the node's executor.
        """
        if request in (Request.ESTOP, Request.RESET):
            self._estop.publish(Bool(data=request is Request.ESTOP))
        ready = [client for client in self._clients[request] if client.service_is_ready()]
        if not ready:
            names = " or ".join(client.srv_name for client in self._clients[request])
            told = "told on the topic; " if request in (Request.ESTOP, Request.RESET) else ""
            self._news.refuse(f"{request.value}: {told}expected the service {names}, found none; "
                              "does its node run, in this ROS_DOMAIN_ID?")
            answered()
            return
        self._news.refusal = ""
        self._news.tell(f"{request.value}: asked for")
        owed = [*ready]
        for client in ready:
            future = client.call_async(Trigger.Request())
            future.add_done_callback(partial(self._answered, request, owed, answered))

    def _answered(
        self, request: Request, owed: list[Any], answered: Callable[[], None], future: Any
    ) -> None:
        owed.pop()
        response = future.result()
        if response is not None and response.success:
            self._news.tell(f"{request.value}: {response.message}")
        elif response is not None:
            self._news.refuse(f"{request.value}: refused: {response.message}")
        if not owed:
            answered()
