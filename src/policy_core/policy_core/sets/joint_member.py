# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A joint policy as a set member."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.contract import JointContract
from policy_core.bundle.set_contract import MemberContract
from policy_core.errors import NoTargetError
from policy_core.guard.limits import Limits, input_timeouts_ns
from policy_core.interfaces import F64, Backend
from policy_core.members.joint import JointPolicy
from policy_core.observation.freshness import Input
from policy_core.observation.state import RobotState, SensedCopy, StateVector
from policy_core.sets.member import JoinedTargets, MemberPolicy


class JointMember(MemberPolicy):
    """Runs its model on each of its ticks; if `followed`, also observes while not in command."""

    STATE = (*MemberPolicy.STATE, "_state", "_policy")

    def __init__(
        self,
        name: str,
        bundle: JointBundle,
        member: MemberContract,
        backend: Backend,
        state: StateVector,
        targets: JoinedTargets,
        inputs: Mapping[str, Input],
        clock: Callable[[], int],
    ) -> None:
        """Connect the parts.

        The arguments are the same as for `MemberPolicy`; `backend` is the opened model.
        """
        super().__init__(name, bundle, member, backend, state, targets, inputs, clock)
        contract = bundle.contract
        self._state = RobotState(contract)
        self._policy = JointPolicy(bundle, backend, self._state)
        self._clock = clock
        own = [name for name in self._state.inputs if not inputs[name].stops_all]
        self._own_inputs = [inputs[name] for name in own]
        self._own_places = [[*inputs].index(name) for name in own]
        self._sensed = SensedCopy(state, self._state, member.places)
        self._last_action = self._state["last_action"]
        self._commanded: F64 = np.zeros(member.places.size)
        within = member.velocity_command
        self._velocity = self._state.get("velocity_command") if within else None
        self._lowest: F64 = np.array(within.min if within else (0.0,) * 3)
        self._highest: F64 = np.array(within.max if within else (0.0,) * 3)
        self.motion = self._state.motion
        self.phase_names = tuple(self._state.phases)
        self.phases = tuple(self._state[name] for name in self._state.phases)
        # A member at the set's rate is due in each tick, so it has no rhythm of its own to keep.
        self.watches = member.is_followed and (self._policy.remembers or member.every != 1)
        self.reset()

    @staticmethod
    def sensed_sizes(contract: JointContract) -> Mapping[str, int]:
        """Return the sizes of the measured fields from which the terms are computed, by name."""
        state = RobotState(contract)
        return {name: state[name].size for name in state.sensed}

    @staticmethod
    def timeouts_ns(contract: JointContract, limits: Limits) -> Mapping[str, int | None]:
        """Return the time-outs of the velocity command, external vectors and live motion."""
        return input_timeouts_ns(contract)

    def plan(self) -> dict[str, Any]:
        """Return the configuration for the native core: the member's place, state and policy."""
        return {
            **super().plan(),
            "watches": self.watches,
            "state": self._state.plan(),
            "policy": self._policy.plan(),
            "sensed": self._sensed.plan(),
            "own_inputs": np.array(self._own_places, np.int64),
            "narrows": self._velocity is not None,
            "lowest": self._lowest,
            "highest": self._highest,
        }

    @property
    def state(self) -> StateVector:
        """The member's own state, in which `last_action` is the model's raw output."""
        return self._state

    def reset(self) -> None:
        super().reset()
        self._policy.reset()

    def pause(self, duration_ns: int) -> None:
        """Do nothing, since the policy counts ticks and does not measure time."""

    def follow(self, command: F64) -> None:
        """Set the last action to the output that would produce this command [set joints]."""
        command.take(self.member.places, None, self._commanded, "clip")
        self._policy.action.invert_command(self._commanded, self._last_action)

    def infer(self) -> bool:
        """Run the model on the current state; return True if the result is finite.

        Raises:
            BackendError: The runtime failed.
            NoTargetError: The member's live motion or perception is too old.
        """
        for entry in self._own_inputs:
            if entry.is_stale(now_ns := self._clock()):
                raise NoTargetError(f"{self.name}: {entry.describe(now_ns)}")
        self._look()
        finite = self._policy.infer()
        self.has_answered = True
        return finite

    def first_target(self) -> F64:
        """Return the command [member joints] that `commit` would apply."""
        return self._policy.action.decode()

    def commit(self) -> tuple[str, ...]:
        """Use the inference result, if any; return the guard rules that clipped it."""
        clipped: tuple[str, ...] = ()
        if self.has_answered:
            self.command[:] = self._policy.commit()
            clipped = self._policy.action.clipped
            self.has_answered = False
            self._count()
        self._pass()
        return clipped

    def rest(self) -> None:
        """Observe a tick in which only other members are in command."""
        if self.is_due:
            self._look()
            self._policy.watch()
            self.own_ticks += 1
        super().rest()

    def _look(self) -> None:
        """Copy the set's state to the member's, clipping the velocity to the member's range."""
        self._sensed.take()
        if self._velocity is not None:
            np.maximum(self._velocity, self._lowest, out=self._velocity)
            np.minimum(self._velocity, self._highest, out=self._velocity)
        self._state.derive_own()
