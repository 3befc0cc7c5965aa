# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""From the order of a recording to that of the bundle that replays it."""

from __future__ import annotations

import numpy as np

from model_tools.errors import ToolError
from model_tools.replaying.ticks import Info, Tick
from policy_inference.bundle.load import Bundle
from policy_inference.core.state import RobotState
from policy_inference.interfaces import F64

_PER_JOINT = ("joint_pos", "joint_vel")


class Recorded:
    """Which values of a recording are which of a bundle's.

    Attributes:
        joints: Places of the bundle's joints among the recorded ones.
        back: Places of the recorded joints among the bundle's.
        fields: Fields of the state that were recorded; another one is the policy's own, or comes
            from a message.
    """

    def __init__(self, bundle: Bundle, info: Info, state: RobotState) -> None:
        """Find everything by name.

        Raises:
            ToolError: The bundle is for other joints or sensors.
        """
        names = bundle.contract.joints.on_robot()
        if sorted(info.joints) != sorted(names):
            raise ToolError(f"{bundle.path}: expected a policy for the joints of the recording "
                            f"({', '.join(info.joints)}), found one for {', '.join(names)}")
        self.joints = [info.joints.index(name) for name in names]
        self.back = [names.index(name) for name in info.joints]
        self.fields = [name for name in info.fields if name in state.slices]
        self._joint_pos = info.fields.get("joint_pos")
        places, sources = [np.zeros(0, np.intp)], [np.zeros(0, np.intp)]
        for name in self.fields:
            part, own = info.fields[name], state.slices[name]
            if part.stop - part.start != own.stop - own.start:
                raise ToolError(f"{bundle.path}: {name}: expected {part.stop - part.start} values, "
                                f"as recorded, found {own.stop - own.start}; it is a policy for "
                                "other joints or sensors")
            source = np.arange(part.start, part.stop)
            sources.append(source[self.joints] if name in _PER_JOINT else source)
            places.append(np.arange(own.start, own.stop))
        self._to, self._from = np.concatenate(places), np.concatenate(sources)

    def write(self, tick: Tick, flat: F64) -> None:
        """Write the recorded state of a tick where it is in `RobotState.flat`."""
        flat[self._to] = tick.state[self._from]

    def command(self, tick: Tick) -> F64 | None:
        """Return the command of a tick [6, joints]; None where nothing was commanded."""
        return None if tick.command is None else tick.command[:, self.joints]

    def joint_pos(self, tick: Tick) -> F64 | None:
        """Return the measured positions of a tick [joints]; None where they are not recorded."""
        part = self._joint_pos
        return None if part is None else tick.state[part][self.joints]
