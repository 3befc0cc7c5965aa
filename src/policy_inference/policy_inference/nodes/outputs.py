# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Message types for a node's targets; each output rejects targets that it cannot express."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np
from builtin_interfaces.msg import Duration, Time
from policy_msgs.msg import ActionChunk, JointCommand
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.serialization import serialize_message
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from policy_core.errors import PolicyError
from policy_core.interfaces import F64, FAULT_MODES, JointTargets, Mode, OnFault
from policy_inference.messages.wire import PLAIN_LITTLE_ENDIAN, JointCommandWriter
from policy_inference.nodes import qos

if TYPE_CHECKING:
    from policy_core.bundle.set_contract import HostedContract

CHUNKS = "action_chunk"
"""Topic for a policy's chunks, and name of the output that publishes nothing else."""
Builder = Callable[[JointTargets, int], Any]
"""Callable that returns the message, or its bytes, for targets and a stamp in ns."""


class Output:
    """Publishes targets as one type of message, which is created once and reused.

    The caller must ensure that only one thread uses it at a time.
    """

    def __init__(
        self,
        node: Node,
        kind: str,
        contract: HostedContract,
        valid_for_s: float,
        *,
        namespace: str = "",
    ) -> None:
        """Create the publisher.

        Args:
            node: Node to publish from.
            kind: Key of `OUTPUTS`.
            contract: Contract; the output must be able to express its fault behavior and command
                kinds.
            valid_for_s: How long a JointCommand is valid after receipt, s.
            namespace: Topic prefix with a trailing slash, for another robot with the same joints.
        """
        require_expressible(kind, contract)
        if valid_for_s < 2.0 / contract.rate_hz:
            raise PolicyError(
                f"parameter command_valid_for_s: expected at least two periods "
                f"({2.0 / contract.rate_hz:g} s at {contract.rate_hz:g} Hz), found "
                f"{valid_for_s:g}; the drives would damp between commands"
            )
        topic, message, make = OUTPUTS[kind]
        self.publisher: Publisher = node.create_publisher(
            message, f"{namespace}{topic}", qos.COMMAND
        )
        self._make = partial(make, contract, valid_for_s)
        self.start()

    def start(self) -> None:
        self._build: Builder = self._make(count())
        self._sent = count()

    def publish(self, targets: JointTargets, stamp_ns: int) -> int:
        """Publish a tick's targets with its sampling time `stamp_ns`.

        Returns:
            The command number, which a JointCommand carries as its sequence.
        """
        self.publisher.publish(self._build(targets, stamp_ns))
        return next(self._sent)


class ChunkOutput:
    """Output that commands no joints; another node executes the chunks that this one publishes."""

    def __init__(self, node: Node, contract: HostedContract) -> None:
        """Check the contract.

        Args:
            node: Node that publishes the chunks.
            contract: A chunk policy's contract.
        """
        if contract.kind != "chunk":
            raise PolicyError(
                f"output {CHUNKS!r} is for chunk policies, but the bundle is of kind "
                f"{contract.kind}; use the output 'joint_command'"
            )
        self.publisher: Publisher = node.create_publisher(ActionChunk, CHUNKS, qos.CHUNKS)
        self.start()

    def start(self) -> None:
        self._counted = count()

    def publish(self, targets: JointTargets, stamp_ns: int) -> int:
        """Return the command number, without sending anything."""
        return next(self._counted)


def open_output(
    node: Node, kind: str, contract: HostedContract, valid_for_s: float
) -> Output | ChunkOutput:
    """Return the output of a policy node; see `Output`."""
    if kind == CHUNKS:
        return ChunkOutput(node, contract)
    return Output(node, kind, contract, valid_for_s)


def require_expressible(kind: str, contract: HostedContract) -> None:
    """Raise PolicyError unless the message type can carry all commands and fault commands."""
    if kind == "joint_command":
        return
    on_fault = contract.safety.on_fault
    others = sorted(contract.commands - {"position"})
    if others:
        raise PolicyError(
            f"output {kind!r} carries positions only, but the policy commands "
            f"{', '.join(others)}; use the output 'joint_command'"
        )
    if contract.sets_gains:
        raise PolicyError(
            f"output {kind!r} carries positions only, but the policy commands gains "
            "(action.gains); use the output 'joint_command'"
        )
    if on_fault != OnFault.HOLD_MEASURED.value:
        raise PolicyError(
            f"output {kind!r} cannot express the contract's safety.on_fault: {on_fault} (this "
            "output carries positions only, so it supports only hold_measured); use the output "
            "'joint_command'"
        )


def _joint_command(contract: HostedContract, valid_for_s: float, sequence: count[int]) -> Builder:
    writer = JointCommandWriter(contract.joints.on_robot(), round(valid_for_s * 1e9))
    fault_mode = FAULT_MODES[OnFault(contract.safety.on_fault)]

    def build(targets: JointTargets, stamp_ns: int) -> bytes:
        mode = fault_mode if targets.mode is Mode.DAMP else targets.mode
        return writer.write(targets.block, stamp_ns, next(sequence), mode)

    return build


def _position_array(contract: HostedContract, valid_for_s: float, sequence: count[int]) -> Builder:
    message = Float64MultiArray(data=_zeros(contract.joints.names))
    return _of_positions(message, message.data)


def _joint_trajectory(
    contract: HostedContract, valid_for_s: float, sequence: count[int]
) -> Builder:
    sec, nanosec = divmod(contract.period_ns, 1_000_000_000)
    point = JointTrajectoryPoint(
        positions=_zeros(contract.joints.names),
        time_from_start=Duration(sec=sec, nanosec=nanosec),
    )
    message = JointTrajectory(joint_names=list(contract.joints.on_robot()), points=[point])
    return _of_positions(message, point.positions)


def _joint_state(contract: HostedContract, valid_for_s: float, sequence: count[int]) -> Builder:
    names = contract.joints.on_robot()
    message = JointState(name=list(names), position=_zeros(names))
    return _of_positions(message, message.position, message.header.stamp)


def _of_positions(message: Any, values: array[float], stamp: Time | None = None) -> Builder:
    # A view of the message's memory, so that filling it needs no conversion.
    positions: F64 = np.frombuffer(values)

    def build(targets: JointTargets, stamp_ns: int) -> Any:
        positions[:] = targets.position
        if stamp is not None:
            set_stamp(stamp, stamp_ns)
        return message

    return build


OUTPUTS: dict[str, tuple[str, type[Any], Callable[..., Builder]]] = {
    "joint_command": ("joint_command", JointCommand, _joint_command),
    "position_array": ("position_controller/commands", Float64MultiArray, _position_array),
    "joint_trajectory": ("joint_trajectory", JointTrajectory, _joint_trajectory),
    "joint_state": ("joint_state_command", JointState, _joint_state),
}
"""Kinds of output: relative topic, message type, builder factory."""

_MARK = -1.2345678e-300
"""Marker value that shows the position of targets in a message."""


def encoder_plan(kind: str, contract: HostedContract, valid_for_s: float) -> dict[str, Any]:
    """Return the native core's plan for an output's messages; see `Output`."""
    *_, make = OUTPUTS[kind]
    targets = JointTargets(len(contract.joints.names))
    targets.block[...] = _MARK
    message = make(contract, valid_for_s, count())(targets, 0)
    data = message if isinstance(message, bytes) else bytes(serialize_message(message))
    if data[:2] != PLAIN_LITTLE_ENDIAN:
        raise PolicyError(
            f"output {kind!r}: expected plain little-endian CDR, found the encoding "
            f"{data[:2].hex()}; use an RMW_IMPLEMENTATION other than "
            f"{get_rmw_implementation_identifier()}"
        )
    return {
        "kind": kind,
        "message": np.frombuffer(data, np.uint8),
        "values_at": data.index(struct.pack("<d", _MARK)),
        "damp_mode": FAULT_MODES[OnFault(contract.safety.on_fault)],
    }


def _zeros(names: Sequence[str]) -> array[float]:
    return array("d", bytes(8 * len(names)))


def set_stamp(stamp: Time, ns: int) -> None:
    stamp.sec, stamp.nanosec = divmod(ns, 1_000_000_000)
