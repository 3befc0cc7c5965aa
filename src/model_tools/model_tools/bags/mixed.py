# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether the messages of a topic are of one robot and in their order, by how its joints move."""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np

from model_tools.bags.bag import Bag
from model_tools.bags.blocks import Block, Times
from policy_inference.bundle.contract import JointContract
from policy_inference.core.messages import state_reader
from policy_inference.core.state import RobotState
from policy_inference.errors import RobotError
from policy_inference.interfaces import F64

JOINTS = "joint_states"
_MESSAGES, _PAIRS = 512, 8
"""Neighbours that are compared of so many messages."""
_JUMP_RAD, _UNTOLD, _FARTHER = 0.03, 0.5, 1.4
"""Neighbours this far apart, their velocities correlated less with that, and too low by so much.

In healthy walks the correlation is 0.96 to 1 and joints go 0.7 to 1.2 times as far as velocities
say; where two moments take turns, it is 0.1 to 0.35 and they go 1.8 to 40 times as far."""


class OneRobot:
    """Looks at neighbouring messages of joint states: positions must go where velocities say.

    Messages of two robots, or of two moments that a clock which was set back has put into the same
    seconds, take turns, and the positions jump to and fro between them.
    """

    def __init__(self, bag: Bag, topics: Mapping[str, str], contract: JointContract) -> None:
        """Prepare to read the messages of a recording."""
        self._bag, self._topic = bag, topics.get(JOINTS, "")
        if self._topic:
            self._state = RobotState(contract)
            self._reader = state_reader(JOINTS, contract.joints.on_robot(), self._state)
            self._decode = bag.decoder(self._topic)

    def look(self, name: str, block: Block, times: Times, new: Times) -> None:
        """Judge new messages of an input, given their places in a block.

        Raises:
            ToolError: They are of several robots or moments.
        """
        if name != JOINTS:
            return
        for first in range(0, len(new), _MESSAGES):
            places = new[first : first + _MESSAGES]
            if len(places) > 2 * _PAIRS:
                self._judge(block, times, places)

    def _judge(self, block: Block, times: Times, places: Times) -> None:
        pairs = np.linspace(0, len(places) - 2, _PAIRS).astype(np.intp)
        try:
            before, after = (np.stack([self._read(block, place) for place in places[at].tolist()])
                             for at in (pairs, pairs + 1))
        except (RobotError, struct.error, ValueError):
            return  # told by who replays it
        steps_ns = np.diff(times[places])
        # A burst of messages may be stamped as it was received, at almost the same time.
        period_s = np.maximum(steps_ns[pairs], np.median(steps_ns))[:, np.newaxis] * 1e-9
        moved, rates = after[:, 0] - before[:, 0], (before[:, 1], after[:, 1])
        far = _rms(moved)
        told = [rate * period_s for rate in (*rates, (rates[0] + rates[1]) / 2.0)]
        correlation = np.max([np.abs((moved * each).mean(axis=0))
                              / np.maximum(far * _rms(each), 1e-12) for each in told], axis=0)
        farther = far / np.maximum(np.max([_rms(each) for each in told], axis=0), 1e-12)
        if (np.median(far) > _JUMP_RAD and np.median(correlation) < _UNTOLD
                and np.median(farther) > _FARTHER):
            raise self._bag.problem(
                self._topic, int(times[places[0]]), "expected the messages of one robot in their "
                f"order, found positions that jump by {np.median(far):.2g} rad from message to "
                f"message, {np.median(farther):.1f} times as far as their velocities say: two "
                "publishers are on the topic, or the clock was set back while it was recorded; "
                "record one robot, or cut that out of the recording")

    def _read(self, block: Block, place: int) -> F64:
        """Return positions and velocities [2, joints] of a message."""
        self._reader.read(self._decode(block.data(place)))
        return np.stack([self._state["joint_pos"], self._state["joint_vel"]])


def _rms(values: F64) -> F64:
    return np.asarray(np.sqrt(np.square(values).mean(axis=0)))
