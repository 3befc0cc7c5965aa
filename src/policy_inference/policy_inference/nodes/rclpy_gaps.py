# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Access to parts of rclpy that are private or missing; the only user of `rclpy.impl`.

An executor runs a callback for every message. With this module, a thread waits for messages itself,
and takes them as bytes when it needs them. `test_rclpy_gaps.py` lists the rclpy versions that were
checked.
"""

import ctypes
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.impl import rcutils_logger
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.impl.logging_severity import LoggingSeverity
from rclpy.node import Node

from policy_core.errors import printable

UNNAMED = ("_CREATED_BY_BARE_DDS_APP_", "_NODE_NAME_UNKNOWN_")
"""Names that ROS gives to a node that is unnamed or not yet known."""


class Logger(rcutils_logger.RcutilsLogger):
    """Logs printable text only, since parts of a text may come from a robot or another node."""

    def log(self, message: str, severity: LoggingSeverity, **options: Any) -> bool:
        return bool(super().log(printable(message), severity, **options))


# rclpy keeps severity and throttling per calling line, which must not be the line above.
rcutils_logger._internal_callers.append(os.path.realpath(__file__))


class SampleGroup(CallbackGroup):
    """Keeps the executor from taking messages.

    QoS events are excluded as well: in Fast DDS, a wait for a subscription's events ends as soon as
    a message is available, so the executor would spin until the next tick takes it. No warning is
    lost, since every publisher satisfies `qos.SAMPLE`.
    """

    def can_execute(self, entity: Any) -> bool:
        return False

    def beginning_execution(self, entity: Any) -> bool:
        return False

    def ending_execution(self, entity: Any) -> None:
        """Do nothing; this group needs no bookkeeping."""


class MessageWaitSet:
    """Waits for messages on subscriptions without taking them; no executor may take them either."""

    def __init__(self, node: Node, most: int) -> None:
        """Create the wait set.

        Args:
            node: Node that owns the subscriptions.
            most: Maximum number of subscriptions.
        """
        self._wait_set = rclpy_implementation.WaitSet(most, 0, 0, 0, 0, 0, node.context.handle)

    @contextmanager
    def address(self) -> Iterator[int]:
        """Yield the address of the `rcl_wait_set_t`, which stays valid within the context."""
        with self._wait_set:
            yield self._wait_set.pointer

    def wait(self, handles: Iterable[Any], timeout_ns: int) -> list[int]:
        """Return the `pointer` of each handle with an available message.

        Args:
            handles: Handles of the subscriptions (`Subscription.handle`); at least one.
            timeout_ns: Maximum time to wait, ns.
        """
        self._wait_set.clear_entities()
        for handle in handles:
            with handle:
                self._wait_set.add_subscription(handle)
        self._wait_set.wait(timeout_ns)
        ready: list[int] = self._wait_set.get_ready_entities("subscription")
        return ready


def take_message(handle: Any, message: type[Any]) -> tuple[bytes, dict[str, Any]] | None:
    """Take the next message from a subscription, or return None.

    Args:
        handle: The subscription's handle.
        message: Type of its messages.

    Returns:
        The message's bytes, and the middleware's information about the message: `source_timestamp`,
        ns, and `publication_sequence_number`, which Humble and some middlewares lack.
    """
    with handle:
        taken: tuple[bytes, dict[str, Any]] | None = handle.take_message(message, True)
    return taken


class _Allocator(ctypes.Structure):
    """The C structure rcutils_allocator_t."""

    _fields_ = (("entries", ctypes.c_void_p * 5),)


class _SerializedMessage(ctypes.Structure):
    """The C structure rmw_serialized_message_t."""

    _fields_ = (
        ("buffer", ctypes.c_void_p),
        ("length", ctypes.c_size_t),
        ("capacity", ctypes.c_size_t),
        ("allocator", _Allocator),
    )


class _MessageInfo(ctypes.Structure):
    """rmw_message_info_t, unchanged since Humble except for the size of the identity."""

    _fields_ = (
        ("times_and_numbers", ctypes.c_uint64 * 4),
        ("implementation", ctypes.c_void_p),
        ("publisher", ctypes.c_ubyte * 16),
        ("more", ctypes.c_ubyte * 64),
    )


@cache
def _libraries() -> tuple[ctypes.CDLL, ctypes.CDLL]:
    """Return librcl and librcutils, which rclpy has loaded."""
    rcl, rcutils = ctypes.CDLL("librcl.so"), ctypes.CDLL("librcutils.so")
    rcutils.rcutils_get_default_allocator.restype = _Allocator
    return rcl, rcutils


_TAKE_FAILED = 401
"""RCL_RET_SUBSCRIPTION_TAKE_FAILED: there is no message."""


def take_with_sender(handle: Any) -> tuple[bytes, bytes] | None:
    """Take the next message from a subscription, or return None.

    rclpy identifies a message's sender only in releases after Kilted.

    Args:
        handle: The subscription's handle.

    Returns:
        The message's bytes, and the identity of its publisher: the first 16 bytes of its
        `endpoint_gid` in the graph.
    """
    rcl, rcutils = _libraries()
    data = _SerializedMessage(allocator=rcutils.rcutils_get_default_allocator())
    info = _MessageInfo()
    try:
        with handle:
            pointer = ctypes.c_void_p(handle.pointer)
            status = rcl.rcl_take_serialized_message(
                pointer, ctypes.byref(data), ctypes.byref(info), None
            )
        if status == _TAKE_FAILED:
            return None
        if status:
            rcutils.rcutils_reset_error()
            raise RuntimeError(f"a message could not be taken: rcl_ret_t {status}")
        return ctypes.string_at(data.buffer, data.length), bytes(info.publisher)
    finally:
        rcutils.rcutils_uint8_array_fini(ctypes.byref(data))


def rcl_functions() -> tuple[int, ...]:
    """Return the addresses of the rcl functions in `Middleware` of loop.hpp.

    These are rcl_take_serialized_message, rcl_publish_serialized_message, rcutils_reset_error,
    rcutils_uint8_array_fini, the five of the default allocator, rcl_wait_set_clear,
    rcl_wait_set_add_subscription and rcl_wait.
    """
    rcl, rcutils = _libraries()
    allocator = rcutils.rcutils_get_default_allocator().entries
    return (
        _address(rcl.rcl_take_serialized_message),
        _address(rcl.rcl_publish_serialized_message),
        _address(rcutils.rcutils_reset_error),
        _address(rcutils.rcutils_uint8_array_fini),
        *(each or 0 for each in allocator),
        _address(rcl.rcl_wait_set_clear),
        _address(rcl.rcl_wait_set_add_subscription),
        _address(rcl.rcl_wait),
    )


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def never_called(_: object) -> None:
    """Fail; this is the callback for subscriptions whose messages no executor may take."""
    raise AssertionError("an executor took a message of a subscription that a thread reads")


def full_name(info: Any) -> str:
    """Return the full node name for an rclpy TopicEndpointInfo, such as `/robot/sim_node`."""
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"
