# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A shadow joint policy that runs on the active one's observations, on the robot or offline."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.contract import JointContract
from policy_core.errors import BackendError
from policy_core.guard.bounds import Rule
from policy_core.guard.limits import Limits
from policy_core.interfaces import F64, Backend, Index, Kind, ShadowMode
from policy_core.members.joint import ActionDecoder, JointPolicy
from policy_core.observation.rows import layout
from policy_core.observation.state import RobotState, SensedCopy, StateVector
from policy_inference.flight.ring import ShadowAnswer, ShadowOutcome
from policy_inference.shadow.shadow_guard import ShadowGuard
from policy_inference.shadow.shadowed_member import ShadowQuestion


class JointShadow:
    """Answers the ticks of an active policy for the same robot.

    The memory of a stateful policy follows these rules: a run begins with empty memory, in the same
    tick as the active policy's run. During a HOLD, there are no requests and nothing changes. A
    skipped tick is observed, so history, phase and tick count continue, but there is no answer; a
    failed tick counts as skipped. After a lost tick, a FOLLOWED shadow skips ticks until its
    history is complete again; a FREE one continues with its current history.
    """

    def __init__(
        self,
        bundle: JointBundle,
        backend: Backend,
        limits: Limits,
        active: JointContract,
        state_sizes: Mapping[str, int],
        mode: ShadowMode,
    ) -> None:
        """Build the shadow from its parts; call `require_comparable` first.

        Args:
            bundle: The shadow's bundle.
            backend: The shadow's opened model; the caller closes it.
            limits: Limits that would be in force if the shadow were active.
            active: The active policy's contract.
            state_sizes: Fields of the active policy's state in their order, with their sizes.
            mode: Source of the shadow's memory.
        """
        contract = bundle.contract
        self._state = RobotState(contract)
        self._policy = JointPolicy(bundle, backend, self._state)
        self._last_action = self._state["last_action"]
        self._followed = mode is ShadowMode.FOLLOWED
        self._frames = 1 + max(
            int(layout(observation, contract)[0].max())
            for observation in contract.observations.values()
        )
        self._seen = StateVector(state_sizes)
        self._active = ActionDecoder(active, self._seen["last_action"])
        self._guard = ShadowGuard(contract, self._policy.action, limits, active, self._active)
        robot = active.joints.on_robot()
        self._places: Index = np.array([robot.index(each) for each in contract.joints.on_robot()])
        self._gather = SensedCopy(self._seen, self._state, self._places)
        self._actions = _Actions(contract, active)
        self._theirs, self._command = np.zeros(self._last_action.size), np.zeros(len(robot))
        self._target = np.zeros(len(robot))
        self._torques = _Torques(self._policy.action, self._active, self._seen, self._places)
        self._knows_gains = not active.action.gain_outputs
        self._unknown_ticks = 0
        self.problem = ""
        """The runtime's message about the last failure in this run; empty if there was none."""

    def answer(self, tick: int, question: ShadowQuestion, *, late: bool) -> ShadowAnswer:
        """Process a tick in which the active policy commanded the robot.

        Args:
            tick: Tick number.
            question: The tick's data; the state's `last_action` is this tick's raw output.
            late: True to skip the model.
        """
        self._seen.flat[:] = question.state
        if question.begins:
            self._begin()
        self._miss(question.lost)
        self._gather.take()
        if self._followed:
            self._last_action[:] = self._theirs
        self._state.derive()
        self._active.read()
        active_target = self._active.decode()
        found = ShadowAnswer(tick, ShadowOutcome.SKIPPED)
        if late or self._unknown_ticks:
            self._unknown_ticks = max(0, self._unknown_ticks - 1)
            self._policy.watch()
        else:
            found = self._run(tick, active_target)
        if self._followed:
            self._actions.theirs(self._active.raw, active_target, self._theirs)
            self._guard.follow(question.command[self._places])
        return found

    def _begin(self) -> None:
        self._policy.reset()
        self._guard.restart()
        self._theirs[:] = 0.0
        self._unknown_ticks = 0
        self.problem = ""

    def _miss(self, lost: int) -> None:
        for _ in range(lost):
            self._state.advance()
        if lost and self._followed:
            self._unknown_ticks = self._frames

    def _run(self, tick: int, active_target: F64) -> ShadowAnswer:
        try:
            finite = self._policy.infer()
        except BackendError as error:
            self.problem = str(error)
            self._policy.watch()
            return ShadowAnswer(tick, ShadowOutcome.FAILED, rules=(Rule.INFERENCE_ERROR.value,))
        if not finite:
            self._policy.watch()
            return ShadowAnswer(tick, ShadowOutcome.NOT_FINITE, rules=(Rule.NOT_FINITE.value,))
        command = self._policy.commit()
        self._target[self._places] = command
        torques = self._torques.demanded(active_target) if self._knows_gains else None
        torque, active_torque = (None, None) if torques is None else torques
        return ShadowAnswer(
            tick,
            ShadowOutcome.COMPARED,
            rules=(
                *self._policy.action.clipped,
                *self._guard.act(command, self._state["joint_pos"], self._state["joint_vel"]),
            ),
            beyond_limits=self._guard.is_beyond_limits(self._target, active_target),
            target=self._target.copy(),
            active_target=active_target.copy(),
            torque=torque,
            active_torque=active_torque,
        )


class _Torques:
    """Computes the torque that each policy's gains demand for the same target.

    The target is the active policy's: the targets are compared anyway, and different weights must
    not hide different gains.
    """

    def __init__(
        self, action: ActionDecoder, active: ActionDecoder, state: StateVector, places: Index
    ) -> None:
        """Connect the arrays.

        Args:
            action: Action of the shadow, with its gains.
            active: Action of the active policy, with its gains.
            state: State of the active policy.
            places: Index, in the active contract, of each joint of the shadow's.
        """
        self._action, self._active, self._places = action, active, places
        self._joint_pos, self._joint_vel = state.get("joint_pos"), state.get("joint_vel")
        self._gains = np.zeros_like(active.gains)
        self._is_position, self._is_velocity, self._is_effort = (
            np.array([kind is wanted for kind in active.kinds])
            for wanted in (Kind.POSITION, Kind.VELOCITY, Kind.EFFORT)
        )

    def demanded(self, target: F64) -> tuple[F64, F64] | None:
        """Return the torques by the shadow's and by the active policy's gains, N·m [joints].

        None if the joint velocities are not measured.
        """
        if self._joint_pos is None or self._joint_vel is None:
            return None
        self._gains[:, self._places] = self._action.gains
        return self._torque(self._gains, target), self._torque(self._active.gains, target)

    def _torque(self, gains: F64, target: F64) -> F64:
        assert self._joint_pos is not None
        position_error = np.where(self._is_position, target - self._joint_pos, 0.0)
        velocity_error = np.where(self._is_velocity, target, 0.0) - self._joint_vel
        effort = np.where(self._is_effort, target, 0.0)
        return np.asarray(gains[0] * position_error + gains[1] * velocity_error + effort)


class _Actions:
    """Computes the shadow's raw action for the active policy's target."""

    def __init__(self, contract: JointContract, active: JointContract) -> None:
        robot = list(active.joints.on_robot())
        theirs = {row[0]: (index, *row[1:]) for index, row in enumerate(_rows(active))}
        rows = [*_rows(contract)]
        self._joint = np.array([robot.index(joint) for joint, _, _ in rows])
        self._scale, self._offset = np.array([(scale, offset) for _, scale, offset in rows]).T
        # Equal terms use the values unchanged, since a conversion and its inverse would round.
        same = [theirs.get(joint, ())[1:] == (scale, offset) for joint, scale, offset in rows]
        self._same = np.array(same)
        self._raw = np.array([theirs.get(joint, (0,))[0] for joint, _, _ in rows])
        self._scale[self._scale == 0.0] = np.inf

    def theirs(self, raw: F64, target: F64, into: F64) -> None:
        """Write the raw action that would make the shadow produce the active policy's target.

        Args:
            raw: Raw action of the active policy [its actions].
            target: Target of the active policy [joints of its contract].
            into: Array to write.
        """
        into[:] = np.where(
            self._same, raw[self._raw], (target[self._joint] - self._offset) / self._scale
        )


def _rows(contract: JointContract) -> Iterator[tuple[str, float, float]]:
    for term in contract.action.terms:
        joints = contract.joints.on_robot(term.joints)
        yield from zip(
            joints,
            np.broadcast_to(term.scale, len(joints)).tolist(),
            np.broadcast_to(term.offset, len(joints)).tolist(),
            strict=True,
        )
