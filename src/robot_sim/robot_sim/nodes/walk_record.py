# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The trace of a walk beside the velocities that were asked for, as a node of a Lite3 keeps it."""

import math
from pathlib import Path

import numpy as np
from geometry_msgs.msg import Twist
from rclpy.node import Node

from robot_sim.figures import Array
from robot_sim.nodes.robot_node import NEWEST
from robot_sim.trace import TraceRecorder
from robot_sim.world import Sensors


class WalkRecord:
    """Hears `cmd_vel` and collects rows, if a file was asked for.

    Attributes:
        target: Newest position targets [12], rad; None where there are none.
        mode: Of the newest command; NaN where nobody says it.
    """

    def __init__(self, node: Node, trace_file: str) -> None:
        """Subscribe; without a file nothing is kept."""
        self.target: Array | None = None
        self.mode = math.nan
        self._file = trace_file
        self._velocity = np.zeros(3)
        self._recorder = TraceRecorder() if trace_file else None
        self._rows = 0
        node.create_subscription(Twist, "cmd_vel", self._on_velocity, NEWEST)

    def append(self, truth: Sensors) -> None:
        """Add a row."""
        if self._recorder is not None:
            self._rows += 1
            self._recorder.append(truth, command=self._velocity, target=self.target, mode=self.mode)

    def save(self) -> None:
        """Write the trace, if there is anything in it."""
        if self._recorder is not None and self._rows > 0:
            self._recorder.trace().save(Path(self._file))

    def _on_velocity(self, message: Twist) -> None:
        self._velocity = np.array([message.linear.x, message.linear.y, message.angular.z])
