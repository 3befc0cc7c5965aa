# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a chunk policy commands: positions by joint name, where and as fast as joints can go."""

import numpy as np

from policy_inference.bundle.chunk_contract import ChunkContract
from policy_inference.bundle.joint_values import per_joint
from policy_inference.core.guard import Rule
from policy_inference.interfaces import F64, JointTargets, Kind


class ChunkCommand:
    """Positions [joints] in contract order, rad; joints without an action stay where they are."""

    def __init__(self, contract: ChunkContract) -> None:
        """Turn names into indices, once."""
        joints, names = contract.joints, contract.joints.names
        self._pose: F64 = per_joint(contract.stand.position, names)
        self.command: F64 = self._pose.copy()
        self.gains: F64 = np.stack([per_joint(joints.stiffness, names),
                                    per_joint(joints.damping, names)])
        self.kinds = [Kind.POSITION] * len(names)
        self.clipped: tuple[str, ...] = ()
        action = contract.action
        self._joints = [names.index(name) for name in action.joints]
        speed = per_joint(joints.velocity_limit, names)[self._joints]
        self._stride: F64 = speed / contract.rate_hz
        self._reach: F64 | None = None
        if action.max_relative_target is not None:
            self._reach = per_joint(action.max_relative_target, action.joints)

    @property
    def target(self) -> F64:
        """The last command as a copy in the order of the actions, rad; the guard may change it."""
        return self.command[self._joints]

    def restart(self) -> None:
        """Take the stand pose for the last command, which it is where RUN begins."""
        self.command[:] = self._pose

    def set(self, target: F64, joint_pos: F64) -> None:
        """Command a target [actions], or what is near enough to it.

        Args:
            target: Finite, rad.
            joint_pos: The measured positions [joints], rad.
        """
        self.clipped = ()
        if self._reach is not None:
            target = self._within(self._reach, joint_pos, target, Rule.RELATIVE_TARGET)
        # Last, so that nothing makes a target jump, whatever is measured.
        target = self._within(self._stride, self.command, target, Rule.TARGET_SPEED)
        self.command[self._joints] = target

    def _within(self, distance: F64, centre: F64, target: F64, rule: Rule) -> F64:
        """Return the target [actions] no further than this from positions [joints]."""
        near = centre[self._joints]
        found: F64 = np.clip(target, near - distance, near + distance)
        if (found != target).any():
            self.clipped += (rule.value,)
        return found

    def fill(self, targets: JointTargets) -> None:
        """Write command and gains into the targets."""
        targets.position[:] = self.command
        targets.velocity[:] = 0.0
        targets.effort[:] = 0.0
        targets.block[3:5] = self.gains
