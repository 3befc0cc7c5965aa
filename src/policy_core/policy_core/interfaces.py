# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Plain values and protocols that every other module may import."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from policy_core.control_state import Stateful, Tree

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
U8 = npt.NDArray[np.uint8]
Tensor = npt.NDArray[np.generic]
Index = npt.NDArray[np.intp]
"""Indices into an array."""
Times = npt.NDArray[np.int64]
"""Times of messages or ticks, ns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """Name, shape and numpy dtype name of a model tensor; every axis is fixed."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    def __str__(self) -> str:
        """Return text such as ``obs float32[1, 45]``."""
        return f"{self.name} {self.dtype}{list(self.shape)}"

    def empty(self) -> Tensor:
        """Return a new array of zeros with this shape and dtype."""
        return np.zeros(self.shape, self.dtype)


def row_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return a tensor's shape in one row of a file: without a batch axis of size 1."""
    return shape[1:] if shape[0] == 1 else shape


class Backend(Protocol):
    """An opened model with fixed arrays: write `inputs`, call `run`, read `outputs`.

    The arrays are created once, belong to the back end, and keep their addresses until `close`. All
    methods are called from one thread.
    """

    name: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    details: Mapping[str, str]
    """Runtime version, device and precision, determined on opening."""

    def run(self) -> None:
        """Run the model: compute `outputs` from `inputs`.

        Raises:
            BackendError: The runtime failed; `outputs` are then undefined.
        """

    def close(self) -> None:
        """Release the runtime; a second call does nothing, and a failure is only logged."""


class Mode(IntEnum):
    """Controller mode; numbers match policy_msgs/JointCommand."""

    DAMP = 0
    STAND = 1
    READY = 2
    RUN = 3
    HOLD = 4


class OnFault(str, Enum):
    """What replaces the policy's targets when there is no safe target."""

    DAMP = "damp"
    HOLD_MEASURED = "hold_measured"
    TORQUE_OFF = "torque_off"


FAULT_MODES = {OnFault.DAMP: 0, OnFault.HOLD_MEASURED: 5, OnFault.TORQUE_OFF: 6}
"""Mode in policy_msgs/JointCommand that represents Mode.DAMP, by fault behavior."""


class ShadowMode(str, Enum):
    """Source of a shadow policy's memory; see docs/candidates.md.

    FOLLOWED: the commands that were actually sent. The guard's step and a realigned chunk begin at
    the active policy's command; a joint policy's last actions, including those in its history, are
    the active policy's targets in the shadow's scale. Recurrent state, observed outputs and queued
    chunks are the shadow's own, since those of another model would be meaningless to the shadow.

    FREE: the shadow's own outputs for all memory.
    """

    FOLLOWED = "followed"
    FREE = "free"


class Kind(str, Enum):
    """Kind of a joint's command: position (rad), velocity (rad/s) or effort (N·m)."""

    POSITION = "position"
    VELOCITY = "velocity"
    EFFORT = "effort"


class JointTargets(Stateful):
    """Targets for the drive law in one tick: float64 arrays [joints] in contract order.

    torque = clip(stiffness (position - q) + damping (velocity - dq) + effort, ±effort_limit). All
    arrays are rows of `block` [6, joints]; the controller overwrites them in every tick. `blended`
    holds the rows that blending changes: all except the effort limit, which comes from the
    contract. `mode` is the controller mode of these targets.
    """

    __slots__ = (
        "blended",
        "block",
        "damping",
        "effort",
        "effort_limit",
        "mode",
        "position",
        "stiffness",
        "velocity",
    )
    STATE = ("mode",)
    STATE_IN_PLACE = ("block",)
    PLAN = ("block",)

    def __init__(self, joints: int) -> None:
        """Start with targets that command no torque."""
        self.mode = Mode.DAMP
        self.block: F64 = np.zeros((6, joints))
        self.position: F64 = self.block[0]
        self.velocity: F64 = self.block[1]
        self.effort: F64 = self.block[2]
        self.stiffness: F64 = self.block[3]
        self.damping: F64 = self.block[4]
        self.effort_limit: F64 = self.block[5]
        self.blended: F64 = self.block[:5]


class Command(Stateful):
    """A policy's command in one tick: a value for each joint, in contract order, and gains.

    Attributes:
        kinds: Kind of each joint's value.
        command: Target of each joint [joints], in the unit of its kind; the guard changes it in
            place.
        gains: Stiffness and damping [2, joints], as the kinds require.
        healthy: Largest torque demand (N·m) and largest step (in the unit of the kind) in a healthy
            run [2, joints]; inf if unknown.
        is_rescaled: True if the last `commit` changed `gains` or `healthy`.
        clipped: Names of the guard rules by which the policy's own limits changed the command.
    """

    STATE: ClassVar[tuple[str, ...]] = ("is_rescaled", "clipped")
    STATE_IN_PLACE: ClassVar[tuple[str, ...]] = ("command", "gains", "healthy")
    PLAN: ClassVar[tuple[str, ...]] = ("command", "gains", "healthy")

    def __init__(self, kinds: Sequence[Kind], stiffness: F64, damping: F64, healthy: F64) -> None:
        """Create the arrays; no command is set yet.

        Args:
            kinds: Kind of each joint's value.
            stiffness: Position gain [joints], N·m/rad.
            damping: Position or velocity gain [joints], N·m·s/rad.
            healthy: See the attribute; the array is copied.
        """
        self.kinds = tuple(kinds)
        kind = np.array([kind.value for kind in kinds])
        is_kind = [
            (kind == value.value).astype(np.float64)
            for value in (Kind.POSITION, Kind.VELOCITY, Kind.EFFORT)
        ]
        # Same layout as `JointTargets.block`, without the effort limits.
        self._rows: F64 = np.zeros((5, len(kinds)))
        self.gains: F64 = self._rows[3:]
        self.gains[0] = stiffness * is_kind[0]
        self.gains[1] = damping * (1.0 - is_kind[2])
        self.healthy: F64 = healthy.copy()
        self.is_rescaled = False
        self.clipped: tuple[str, ...] = ()
        # The command of a usual policy, positions only, is written with one copy.
        self._is_kind = None if is_kind[0].all() else np.stack(is_kind)
        self.command: F64 = self._rows[0] if self._is_kind is None else np.zeros(len(kinds))

    def plan(self) -> dict[str, Any]:
        """Return the configuration for the native core: initial values, and kinds as numbers."""
        order = [Kind.POSITION, Kind.VELOCITY, Kind.EFFORT]
        return {**super().plan(), "kinds": [order.index(kind) for kind in self.kinds]}

    @property
    def steady_gains(self) -> F64:
        """`gains` [2, joints] if they are constant; NaN for those that a `commit` may change."""
        return self.gains

    def fill(self, targets: JointTargets) -> None:
        """Write the command, and the gains for the joints' kinds, to the targets."""
        if self._is_kind is not None:
            np.multiply(self._is_kind, self.command, out=self._rows[:3])
        targets.blended[:] = self._rows


class Policy(Protocol):
    """Policy that the control path runs in each RUN tick, on the control thread only."""

    @property
    def action(self) -> Command:
        """Result of the last `commit`."""

    @property
    def begins(self) -> bool:
        """True if the policy had no memory at the last `infer`."""

    @property
    def change(self) -> str:
        """Description of any change of commanding members in the last `commit`; otherwise ""."""

    def reset(self) -> None:
        """Clear all memory, as for a new run."""

    def pause(self, duration_ns: int) -> None:
        """Do not count an interval in which the last targets were held."""

    def infer(self) -> bool:
        """Run inference on the current observation; return True if the result is finite.

        Raises:
            BackendError: The runtime failed.
            NoTargetError: There is no target for this tick.
        """

    def commit(self) -> F64:
        """Use the inference result in this tick, and return the command [joints]."""

    def saved(self) -> Tree:
        """Return a copy of all memory."""

    def restore(self, saved: Tree) -> None:
        """Restore memory saved by a policy with the same contract."""
