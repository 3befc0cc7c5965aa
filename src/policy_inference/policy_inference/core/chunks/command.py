# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a chunk policy commands: positions by joint name, near enough to the measured ones."""

import numpy as np

from policy_inference.bundle.chunk_contract import ChunkContract
from policy_inference.bundle.joint_values import per_joint
from policy_inference.core.guard import Rule
from policy_inference.interfaces import F64, JointTargets, Kind


class ChunkCommand:
    """Positions [joints] in contract order, rad; joints without an action keep their default."""

    def __init__(self, contract: ChunkContract) -> None:
        """Turn names into indices, once."""
        joints, names = contract.joints, contract.joints.names
        self.command: F64 = per_joint(joints.default_position, names)
        self.gains: F64 = np.stack([per_joint(joints.stiffness, names),
                                    per_joint(joints.damping, names)])
        self.kinds = [Kind.POSITION] * len(names)
        self.clipped = ""
        action = contract.action
        self._joints = [names.index(name) for name in action.joints]
        self._reach: F64 | None = None
        if action.max_relative_target is not None:
            self._reach = per_joint(action.max_relative_target, action.joints)

    @property
    def target(self) -> F64:
        """The last command as a copy in the order of the actions, rad; the guard may change it."""
        return self.command[self._joints]

    def stay(self, joint_pos: F64) -> None:
        """Take measured positions [joints] for the last command."""
        self.command[self._joints] = joint_pos[self._joints]

    def set(self, target: F64, joint_pos: F64) -> None:
        """Command a target [actions]; `joint_pos` [joints] are the measured positions, rad."""
        self.clipped = ""
        if self._reach is not None:
            measured = joint_pos[self._joints]
            near = np.clip(target, measured - self._reach, measured + self._reach)
            if (near != target).any():
                target, self.clipped = near, Rule.RELATIVE_TARGET.value
        self.command[self._joints] = target

    def fill(self, targets: JointTargets) -> None:
        """Write command and gains into the targets."""
        targets.position[:] = self.command
        targets.velocity[:] = 0.0
        targets.effort[:] = 0.0
        targets.block[3:5] = self.gains
