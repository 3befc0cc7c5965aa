# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The robots with their DDS transport; the link process finds them here by class name."""

from collections.abc import Sequence

from unitree_driver import figures as table
from unitree_driver.nodes.dds import NodeTransport, UnitreeTopics
from unitree_driver.robot import UnitreeRobot


class _DdsRobot(UnitreeRobot):
    def open(self) -> NodeTransport:
        return NodeTransport(self.model, self.settings)

    def adopt(self, descriptors: Sequence[int]) -> UnitreeTopics:
        return UnitreeTopics(self.model, self.settings, linked=True)


class Go2(_DdsRobot):
    """Unitree Go2 with 12 joints, which lies down before control is taken."""

    model = table.GO2


class G1(_DdsRobot):
    """Unitree G1 with 29 joints, which must be suspended when control is taken."""

    model = table.G1


class H1(_DdsRobot):
    """Unitree H1, which must be suspended when control is taken."""

    model = table.H1


class H1Two(_DdsRobot):
    """Unitree H1-2, which must be suspended when control is taken."""

    model = table.H1_2
