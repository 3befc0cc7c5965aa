# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A chunk policy as a set member, for example for an arm with cameras on a walking robot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from policy_core import words
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.chunk_contract import ChunkContract
from policy_core.bundle.set_contract import MemberContract
from policy_core.errors import NoTargetError
from policy_core.guard.limits import Limits
from policy_core.interfaces import F64
from policy_core.members.chunk.controller import (
    camera_input,
    chunk_timeouts_ns,
    make_chunk_policy,
    state_sizes,
)
from policy_core.members.chunk.observation_sync import FrameBuffer
from policy_core.members.chunk.policy import ChunkPolicy
from policy_core.members.chunk.settings import ChunkSettings
from policy_core.members.chunk.worker import Worker
from policy_core.observation.freshness import Input
from policy_core.observation.state import SensedCopy, StateVector
from policy_core.sets.member import JoinedTargets, MemberPolicy


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChunkRunner:
    """Worker and settings with which a set runs a chunk policy.

    Attributes:
        worker: Computes the chunks; the caller closes it.
        settings: Settings for chunk execution.
        expected_s: Inference time to assume until it has been measured.
        longest_hold_ns: Maximum time for which the policy's joints may be held while it has no
            target.
    """

    worker: Worker
    settings: ChunkSettings
    expected_s: float
    longest_hold_ns: int


class ChunkMember(MemberPolicy):
    """Executes one step of a chunk on each of its ticks, and never waits.

    If the member has no step, or a camera is silent, its joints are held while all other joints
    continue, and no step is skipped. The member fails if its joints are held for longer than
    `ChunkRunner.longest_hold_ns`.

    Attributes:
        runner: Worker and settings.
        policy: The chunk policy.
        held: Reason why the member's joints are held; empty if they are not.
    """

    STATE = (*MemberPolicy.STATE, "policy", "held", "_held_since_ns", "_held_until_ns")

    def __init__(
        self,
        name: str,
        bundle: ChunkBundle,
        member: MemberContract,
        runner: ChunkRunner,
        state: StateVector,
        targets: JoinedTargets,
        inputs: Mapping[str, Input],
        clock: Callable[[], int],
    ) -> None:
        """Connect the parts; arguments as for `MemberPolicy`."""
        super().__init__(name, bundle, member, runner, state, targets, inputs, clock)
        contract = bundle.contract
        self.runner, self._clock = runner, clock
        own = self._state = StateVector(state_sizes(contract))
        self._sensed = SensedCopy(state, own, member.places)
        self.policy = make_chunk_policy(
            contract, runner.worker, own, inputs, clock, runner.settings, runner.expected_s
        )
        self._cameras = [inputs[camera_input(camera)] for camera in contract.cameras]
        self._inputs = [*inputs]
        self.reset()

    @staticmethod
    def sensed_sizes(contract: ChunkContract) -> Mapping[str, int]:
        """Return, by name, the sizes of the observed fields: joint positions, external vector."""
        return state_sizes(contract)

    @staticmethod
    def timeouts_ns(contract: ChunkContract, limits: Limits) -> Mapping[str, int | None]:
        """Return the time-outs of all inputs, including cameras, by topic."""
        return chunk_timeouts_ns(contract, limits)

    @property
    def chunk_policy(self) -> ChunkPolicy:
        """The chunk policy."""
        return self.policy

    @property
    def frames(self) -> Mapping[str, FrameBuffer]:  # type: ignore[override]
        """Buffers for new frames, by camera."""
        return self.policy.sync.frames

    @property
    def state(self) -> StateVector:
        """The member's measured state: its inputs other than cameras."""
        return self._state

    def plan(self) -> dict[str, Any]:
        """Return the configuration for the native core: the member's place, state and policy."""
        return {
            **super().plan(),
            "state": self._state.plan(),
            "policy": self.policy.plan(),
            "sensed": self._sensed.plan(),
            "cameras": [self._inputs.index(camera.name) for camera in self._cameras],
            "longest_hold_ns": self.runner.longest_hold_ns,
        }

    def reset(self) -> None:
        """Clear all memory, with the stand pose as the last command; ignore a pending chunk."""
        super().reset()
        self.policy.reset()
        self.command[:] = self.policy.action.command
        self.held = ""
        self._held_since_ns = self._held_until_ns = 0

    def enter(self, command: F64) -> None:
        """Clear all memory, and continue from the set's last command [set joints]."""
        super().enter(command)
        self.follow(command)

    def pause(self, duration_ns: int) -> None:
        """Do not count an interval in which the robot was held, so that no steps are skipped."""
        if not self.held:  # otherwise `infer` excludes the whole time that has passed
            self.policy.pause(duration_ns)

    def follow(self, command: F64) -> None:
        """Continue from the set's last command [set joints]."""
        command.take(self.member.places, None, self.command, "clip")
        self.policy.action.command[:] = self.command

    def infer(self) -> bool:
        """Select this tick's target, or hold the last one; return True if all values are finite.

        Raises:
            BackendError: No step is left, because a runtime failed.
            NoTargetError: The member's joints were held for too long; the message gives the reason.
        """
        now_ns = self._clock()
        if self.held:
            self.policy.pause(now_ns - self._held_until_ns)
            self._held_until_ns = now_ns
        self._sensed.take()
        finite = True
        try:
            self._require_cameras(now_ns)
            finite = self.policy.infer()
            self.held = ""
        except NoTargetError as error:
            self._hold(now_ns, str(error))
        self.has_answered = True
        return finite

    def first_target(self) -> F64:
        """Return the last command, since speed limits keep the first step close to it."""
        return self.command

    def commit(self) -> tuple[str, ...]:
        """Execute this tick's step, if any; return the guard rules that clipped it."""
        clipped: tuple[str, ...] = ()
        if self.has_answered and not self.held:
            self.command[:] = self.policy.commit()
            clipped = self.policy.action.clipped
            self._count()
        self.has_answered = False
        self._pass()
        return clipped

    def _require_cameras(self, now_ns: int) -> None:
        for camera in self._cameras:
            if camera.is_stale(now_ns):
                raise NoTargetError(camera.describe(now_ns))

    def _hold(self, now_ns: int, why: str) -> None:
        if not self.held:
            self._held_since_ns = self._held_until_ns = now_ns
        self.held = why
        held_ns = now_ns - self._held_since_ns
        if held_ns > self.runner.longest_hold_ns:
            held = words.MEMBER_HELD.format(member=self.name, held_s=held_ns * 1e-9, why=why)
            raise NoTargetError(held)
