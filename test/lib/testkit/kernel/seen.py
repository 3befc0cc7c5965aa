# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A robot whose joints are read from messages and judged, as the node reads them."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping, Sequence
from types import SimpleNamespace

import pytest

from policy_core.errors import RefusedError, RobotError
from policy_core.interfaces import Mode
from policy_inference.messages.readers import JointStateReader
from testkit.kernel.contracts import JOINTS
from testkit.kernel.robots import Robot, Targets

NEEDED = 25
"""Samples that confirm a pose at 50 Hz."""
ARM: Mapping[str, object] = {"safety.on_fault": "hold_measured"}
TRUE, OTHER, MADE_UP = (0.9, 0.5, -0.5), (-0.6, 0.1, 0.3), (0.0, 0.0, 0.0)
FOREVER = 2 * NEEDED


class Seen(Robot):
    def __init__(self, changes: Mapping[str, object] | None = None) -> None:
        super().__init__(changes)
        self._reader = JointStateReader(JOINTS, self.controller.state, self.controller.joint_check)
        self.sensed["joint_pos"] = TRUE

    def sense(
        self,
        sensed: Mapping[str, Sequence[float]] | None = None,
        *,
        silent: Collection[str] = (),
        **fields: Sequence[float],
    ) -> None:
        self.sensed.update({**(sensed or {}), **fields})
        joints = {name: self.sensed[name] for name in ("joint_pos", "joint_vel")}
        others = {name: values for name, values in self.sensed.items() if name not in joints}
        kept, self.sensed = self.sensed, others
        super().sense(silent=(*silent, "joint_states"))
        self.sensed = kept
        if "joint_states" in silent:
            return
        message = SimpleNamespace(
            name=list(JOINTS),
            position=array("d", joints["joint_pos"]),
            velocity=array("d", joints["joint_vel"]),
        )
        try:
            self._reader.read(message, self.now_ns)
        except RobotError as error:
            self.controller.inputs["joint_states"].reject(str(error))
        else:
            self.controller.inputs["joint_states"].accept(self.now_ns)

    def known(self) -> Seen:
        for _ in range(NEEDED):
            self.tick()
        return self

    def held(self) -> Seen:
        self.known().controller.damp()
        return self

    def standing(self) -> Seen:
        """Stand up, slowly enough for joints that follow."""
        self.known().controller.stand()
        while not self.is_in(Mode.READY):
            self.follow(self.tick())
        return self

    def running(self) -> Seen:
        self.answer(0.0, 0.0, 0.0)
        self.standing().controller.run()
        for _ in range(20):
            self.follow(self.tick())
        assert self.is_in(Mode.RUN)
        return self

    def follow(self, targets: Targets | None) -> None:
        assert targets is not None
        self.sensed["joint_pos"] = tuple(targets.position.tolist())

    def refusal(self) -> str:
        with pytest.raises(RefusedError) as caught:
            self.controller.stand()
        return str(caught.value)
