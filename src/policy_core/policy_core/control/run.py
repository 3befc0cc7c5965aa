# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Targets from the policy: inferred, limited, and blended in after standing."""

import math
from collections.abc import Sequence

import numpy as np

from policy_core.bundle.body import Body
from policy_core.control.authority import Authority
from policy_core.control.motions import Stand
from policy_core.control.tick import Tick
from policy_core.control_state import Stateful, Tree
from policy_core.guard.bounds import Rule, TargetBounds
from policy_core.guard.limits import Limits
from policy_core.interfaces import F64, JointTargets, Kind, Policy
from policy_core.observation.state import StateVector


class Run(Stateful):
    """Converts the policy's output to `targets` in each RUN tick; `tick` records the details."""

    STATE = ("_policy", "_bounds", "_began_ns", "clipped_ticks", "targets", "authority")
    PLAN = ("_policy", "_bounds", "targets", "authority")

    def __init__(
        self,
        body: Body,
        policy: Policy,
        state: StateVector,
        stand: Stand,
        limits: Limits,
        effort_limit: F64,
        tick: Tick,
    ) -> None:
        """Blend from the final targets of `stand`."""
        self._policy, self._stand, self._tick = policy, stand, tick
        self._bounds = TargetBounds(body, policy.action, limits.margin)
        self._blend_ns = limits.blend_ns
        self._joint_pos, velocity = state["joint_pos"], state.get("joint_vel")
        self._joint_vel = np.zeros_like(self._joint_pos) if velocity is None else velocity
        self._unposed = np.array([kind is not Kind.POSITION for kind in policy.action.kinds])
        self.targets = JointTargets(len(body.joints.names))
        self.targets.effort_limit[:] = effort_limit
        self.authority = Authority(body, stand, limits)
        tick.authority = self.authority.share
        self._began_ns = 0
        self.clipped_ticks = 0
        """Consecutive ticks in which the step or the effort exceeded a limit."""

    @property
    def change(self) -> str:
        """How the last `update` changed the members in command, as text; "" if it did not."""
        return self._policy.change

    @property
    def is_finite(self) -> bool:
        """True if the policy's command is finite after the guard's limits."""
        target = self._policy.action.command
        return math.isfinite(target.dot(target))

    @property
    def pose(self) -> F64:
        """Commanded positions [joints], rad; measured ones for joints not commanded by position."""
        return np.where(self._unposed, self._joint_pos, self.targets.position)

    def begin(self, now_ns: int) -> None:
        """Start a run from the stand pose, with the policy's memory cleared."""
        self._policy.reset()
        self._bounds.reset(self._stand.pose)
        self.authority.begin()
        self._began_ns, self.clipped_ticks = now_ns, 0

    def adopt(self, saved: Tree) -> None:
        """Continue another policy's run for the same joints, without that policy's memory."""
        self._restore(self.STATE[1:], saved)
        self.targets.effort_limit[:] = self._stand.targets.effort_limit

    def _restore(self, names: Sequence[str], saved: Tree) -> None:
        if "authority" not in saved:  # missing in older recordings
            self.authority.forget()
            names = [name for name in names if name != "authority"]
        super()._restore(names, saved)

    def pause(self, duration_ns: int) -> None:
        """Do not count an interval during which the last targets were held."""
        self._began_ns += duration_ns
        self._policy.pause(duration_ns)

    def infer(self) -> bool:
        """Run the model; return True if its result is finite.

        Raises:
            BackendError: The runtime failed.
            NoTargetError: The policy has no target for this tick.
        """
        self._tick.asked = True
        try:
            return self._policy.infer()
        finally:
            self._tick.begins = self._policy.begins

    def update(self, now_ns: int) -> tuple[Rule, ...]:
        """Convert the inference result to `targets`; return the guard's rules that changed it."""
        # The time of a request may be slightly after that of the tick that follows it.
        elapsed_ns = max(0, now_ns - self._began_ns)
        share = elapsed_ns / self._blend_ns if elapsed_ns < self._blend_ns else 1.0
        command, action = self._policy.commit(), self._policy.action
        if action.is_rescaled:
            self._bounds.rescale()
        acted = self._bounds.apply(command, self._joint_pos, self._joint_vel)
        beyond_nominal = acted and acted != (Rule.POSITION_LIMIT,)
        self.clipped_ticks = self.clipped_ticks + 1 if beyond_nominal else 0
        self._fill(share)
        tick = self._tick
        tick.taken, tick.blend, tick.clipped_ticks = True, share, self.clipped_ticks
        return (*map(Rule, action.clipped), *acted) if action.clipped else acted

    def _fill(self, share: float) -> None:
        """Write the policy's command and gains to `targets`, with authority and `share` applied."""
        self._policy.action.fill(self.targets)
        if self.authority.is_partial:
            self.authority.advance()
            if self.authority.is_partial:
                self.authority.mix(self.targets, self._unposed)
        if share < 1.0:
            self._blend(share)

    def _blend(self, share: float) -> None:
        """Blend the targets with the stand targets; `share` is the targets' weight, 0 to 1."""
        mixed, stand = self.targets, self._stand.targets
        mixed.blended *= share
        mixed.blended += (1.0 - share) * stand.blended
        # While its stand gain fades out, a joint without a position target is held at its stand
        # position, not at 0.
        whole = self._unposed & (self.authority.share >= 1.0)
        np.copyto(mixed.position, stand.position, where=whole)
