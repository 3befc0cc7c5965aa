# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The product's controller between a driver's states and commands, in explicit time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64
from policy_core.members.joint import joint_controller
from policy_inference.backends.registry import open_backend
from robot_driver.interfaces import WireCommand

VALID_FOR_NS = 100_000_000


class WirePolicy:
    """A policy at its rate; the operator is the test.

    Attributes:
        controller: Of the product.
        stalls: While it does, it neither senses nor commands.
        velocity: That is commanded, m/s and rad/s.
    """

    def __init__(self, bundle: Path, joint_names: Sequence[str]) -> None:
        """Open a bundle for a driver whose joints have this order."""
        opened = load_bundle(bundle, kind=JointBundle)
        self._backend, _ = open_backend(opened, ["onnx"])
        contract = opened.contract
        self._now_ns, self._period_ns, self._sequence = 0, contract.period_ns, 0
        limits = limits_in_force(contract, StricterLimits())
        self.controller = joint_controller(opened, self._backend, limits, lambda: self._now_ns)
        self._to_wire = [contract.joints.names.index(name) for name in joint_names]
        self._from_wire = np.argsort(self._to_wire)
        self.stalls, self.velocity = False, (0.0, 0.0, 0.0)

    def tick(self, now_ns: int, state: Mapping[str, F64] | None) -> WireCommand | None:
        """Return what is commanded now; `state` is None where none has come since the last tick."""
        if self.stalls or now_ns % self._period_ns:
            return None
        self._now_ns, controller = now_ns, self.controller
        if state is not None:
            for field, values in state.items():
                of_joints = field.startswith("joint_")
                controller.state[field][:] = values[self._from_wire] if of_joints else values
            for name in ("joint_states", "imu/data"):
                controller.inputs[name].accept(now_ns, now_ns, now_ns)
        controller.command.set(self.velocity, now_ns)
        controller.inputs["cmd_vel"].accept(now_ns, now_ns, now_ns)
        targets = controller.tick(now_ns, now_ns + self._period_ns)
        if targets is None:
            return None
        self._sequence += 1
        rows = targets.block[:, self._to_wire]
        return WireCommand(
            sequence=self._sequence,
            mode=int(targets.mode),
            valid_for_ns=VALID_FOR_NS,
            values=rows[:5].T.copy(),
            effort_limit=rows[5].copy(),
            received_ns=now_ns,
        )

    def close(self) -> None:
        self._backend.close()
