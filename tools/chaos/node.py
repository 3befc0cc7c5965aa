# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The parts of rclpy that a node uses, without rclpy; they replace the node's base class."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

from rclpy.lifecycle import LifecycleNode

Heard = Callable[[Any], object]


class VirtualPublisher:
    """Passes published messages to the network."""

    def __init__(self, topic: str, send: Callable[[Any], object]) -> None:
        self.topic_name, self._send = topic, send

    def publish(self, message: Any) -> None:
        self._send(message)

    def get_subscription_count(self) -> int:
        return 1


class Mailbox:
    """The handle of a subscription of depth 1: the newest message can be taken once."""

    pointer = 0

    def __init__(self) -> None:
        self._newest: bytes | None = None

    def put(self, data: bytes) -> None:
        self._newest = data

    def take_message(self, *_: object) -> tuple[bytes, dict[str, Any]] | None:
        newest, self._newest = self._newest, None
        return None if newest is None else (newest, {})


class VirtualNode(LifecycleNode):
    """Stores publishers, subscriptions and services by name, and starts nothing.

    Attributes:
        send: Passes a published message (topic, message) to the network.
        handlers: Service handlers, by name.
        mailboxes: Mailboxes of sampled subscriptions, by topic.
        heard: Callbacks of all other subscriptions, by topic.
    """

    executor = None
    send: Callable[[str, Any], object]

    def __init__(self, name: str, **_: object) -> None:
        self._name, self._values = name, dict[str, Any]()
        self.handlers = dict[str, Callable[..., Any]]()
        self.mailboxes = dict[str, Mailbox]()
        self.heard = dict[str, list[Heard]]()

    def __del__(self) -> None:
        """Do nothing, because there are no rclpy objects to free."""

    @property
    def services(self) -> list[Any]:
        return []

    def get_name(self) -> str:
        return self._name

    def get_namespace(self) -> str:
        return "/"

    def get_fully_qualified_name(self) -> str:
        return f"/{self._name}"

    def get_node_names_and_namespaces(self) -> list[tuple[str, str]]:
        return [(self._name, "/")]

    def resolve_topic_name(self, topic: str) -> str:
        return f"/{topic}"

    def count_publishers(self, _: str) -> int:
        return 1

    def get_publishers_info_by_topic(self, _: str) -> list[Any]:
        return []

    def get_subscriptions_info_by_topic(self, _: str) -> list[Any]:
        return []

    def get_parameters_by_prefix(self, _: str) -> dict[str, Any]:
        return {}

    def declare_parameter(self, name: str, value: Any, _: object = None) -> None:
        self._values[name] = value

    def add_on_set_parameters_callback(self, _: object) -> None:
        """Do nothing, because nothing else sets parameters."""

    def get_parameter(self, name: str) -> Any:
        return SimpleNamespace(value=self._values.get(name))

    def set_parameters(self, parameters: list[Any]) -> None:
        self._values |= {each.name: each.value for each in parameters}

    def create_publisher(self, _: object, topic: str, *__: object, **___: object) -> Any:
        return VirtualPublisher(topic, lambda message: self.send(topic, message))

    def create_subscription(
        self, _: object, topic: str, callback: Heard, *__: object, **named: Any
    ) -> Any:
        if named.get("raw"):
            self.heard.setdefault(topic, []).append(callback)
        mailbox = self.mailboxes[topic] = Mailbox()
        return SimpleNamespace(handle=mailbox)

    def create_service(
        self, kind: Any, name: str, handler: Callable[..., Any], **_: object
    ) -> tuple[str, Any]:
        self.handlers[name.removeprefix("~/")] = lambda request: handler(request, kind.Response())
        return name, kind

    def create_timer(self, *_: object, **__: object) -> None:
        """Do nothing, because the scenario triggers periodic work."""

    def destroy_timer(self, _: object) -> None:
        """Do nothing, because there are no timers."""

    destroy_service = destroy_subscription = destroy_publisher = destroy_timer


class VirtualLogger:
    """Passes on each logged text, to be included in the digest."""

    def __init__(self, hear: Callable[[bytes], object]) -> None:
        self._hear = hear

    def _log(self, text: str, *_: object, **__: object) -> bool:
        self._hear(str(text).encode())
        return True

    debug = info = warning = error = fatal = _log


def drive(work: Coroutine[Any, Any, Any], done: Callable[[Any], object]) -> Callable[[], bool]:
    """Return a function that resumes a handler, and returns whether the handler awaits again.

    Args:
        work: The handler.
        done: Called once, with the handler's answer.
    """

    def go_on() -> bool:
        try:
            work.send(None)
        except StopIteration as end:
            done(end.value)
            return False
        return True

    return go_on
