# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The node that runs a chunk policy such as ACT: cameras and joints in, joint commands out.

Subscribes (best effort, depth 1, as far as the contract needs them): `joint_states`
(sensor_msgs/JointState), per camera `CAMERA/image_raw` (sensor_msgs/Image) or
`CAMERA/image_raw/compressed` (sensor_msgs/CompressedImage), the environment state
(std_msgs/Float32MultiArray); `estop` (std_msgs/Bool, reliable). With `takeover`:
`leader/joint_states` (sensor_msgs/JointState). Under `use_sim_time`: `/clock`.
Publishes: the chosen output (reliable, depth 1), `action_chunk` (policy_msgs/ActionChunk),
`~/status` (policy_msgs/PolicyStatus, reliable, transient local), `/diagnostics`.
Serves (std_srvs/Trigger): `~/stand`, `~/run`, `~/damp`, `~/estop`, `~/reset`; `~/load`
(policy_msgs/LoadBundle). The flight recorder: docs/flight_recorder.md. What a takeover by a person
publishes and serves: docs/takeover.md.
No tick waits for an inference: see `core.chunks`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from policy_core.bundle.state_fields import LEADER
from policy_core.control.tick import Tick
from policy_core.control.verdict import RunEnd, RunVerdict
from policy_core.errors import PolicyError, RefusedError
from policy_core.interfaces import Mode
from policy_core.members.chunk.takeover import HAND_BACK, TAKE_OVER
from policy_inference.kinds.chunk import ChunkKind, OpenedChunkPolicy
from policy_inference.nodes.camera_sampler import CameraSampler, subscribe_with_cameras
from policy_inference.nodes.chunk_reports import ChunkReports
from policy_inference.nodes.chunk_settings import ACT_PARAMETERS, chunk_settings_given
from policy_inference.nodes.parameters import refuse_arguments
from policy_inference.nodes.policy_node import PolicyNode
from policy_inference.nodes.process import run_node
from policy_inference.nodes.sampler import Sampler
from policy_inference.nodes.sampling import Sampled, SampleGroup
from policy_inference.nodes.takeover import TakeoverReports
from policy_inference.nodes.tick_observer import TickObserver

if TYPE_CHECKING:  # a node without a shadow needs nothing of it
    from policy_inference.nodes.chunk_shadow import ChunkNodeShadow


class ActPolicyNode(PolicyNode[OpenedChunkPolicy]):
    """Runs a chunk policy."""

    def __init__(self) -> None:
        """Declare the parameters; nothing else exists before configure."""
        super().__init__("act_policy_node", ACT_PARAMETERS)
        self._takeover: TakeoverReports | None = None

    def own_requests(self) -> Mapping[str, Callable[[], None]]:
        """Return the requests of a person who takes over."""
        return {TAKE_OVER: self._take_over, HAND_BACK: lambda: self.policy.runtime.hand_back()}

    def _take_over(self) -> None:
        if self._takeover is not None and (problem := self._takeover.refusal()):
            raise RefusedError(f"{TAKE_OVER} refused: {problem}")
        self.policy.runtime.take_over()

    def kind_of(self, values: Mapping[str, Any]) -> ChunkKind:
        """Return what opens chunk policies with the settings of the parameters."""
        simulated_time = bool(self.get_parameter("use_sim_time").value)
        return ChunkKind(chunk_settings_given(values), simulated_time=simulated_time)

    def subscribe(self, group: SampleGroup, values: Mapping[str, Any]) -> dict[str, Sampled[Any]]:
        """Subscribe to joints, environment state and cameras."""
        return subscribe_with_cameras(
            self, group, self.controller, self.policy.frames, values["image_transport"]
        )

    def sampler_of(self, policy: OpenedChunkPolicy) -> Sampler:
        """Return what fills state and frames of the policy."""
        return CameraSampler(
            self.topics, policy.controller, policy.frames, policy.bundle.contract.joints.on_robot()
        )

    def own_observers(
        self, policy: OpenedChunkPolicy, values: Mapping[str, Any]
    ) -> list[TickObserver]:
        """Return what reports chunks and takeovers, and what ends a run whose time is over."""
        found: list[TickObserver] = [ChunkReports(self, policy)]
        self._takeover = None
        if policy.runtime.takeover is not None:
            self._takeover = TakeoverReports(
                self, policy, self.topics[LEADER.name], values["command_valid_for_s"]
            )
            found.append(self._takeover)
        if values["run_for_s"]:
            found.append(RunTime(values["run_for_s"]))
        return found

    def open_shadow(self, policy: OpenedChunkPolicy, values: Mapping[str, Any]) -> ChunkNodeShadow:
        """Open the shadow that the parameters ask for."""
        if values["takeover"]:
            raise PolicyError(
                "takeover: expected no shadow_bundle, found one; a shadow cannot be compared with "
                "a person: leave one of them out"
            )
        from policy_inference.nodes.chunk_shadow import ChunkNodeShadow

        return ChunkNodeShadow(self, policy, values)

    def tell(self, policy: OpenedChunkPolicy) -> None:
        """Log what runs, how chunks are executed, and how long one takes."""
        super().tell(policy)
        contract, settings = policy.bundle.contract, policy.settings
        steps = settings.steps or contract.chunk.steps
        denoising = contract.denoising
        of_steps = (
            f" in {policy.denoising_steps} denoising steps (contract: {denoising.steps})"
            if denoising
            else ""
        )
        self.get_logger().info(
            f"{settings.mode}: {steps} of {contract.chunk.size} steps of a chunk, "
            f"{steps / contract.rate_hz:.2f} s; a chunk takes {policy.inference_s * 1e3:.1f} ms"
            + of_steps
        )


class RunTime(TickObserver):
    """Ends a run that has taken as long as was asked for."""

    def __init__(self, run_for_s: float) -> None:
        """Let each run take so long, s."""
        self._run_for_ns = round(run_for_s * 1e9)
        self._ends_ns: int | None = None

    def observe(self, tick: Tick) -> RunVerdict | None:
        """Return that the run is over, once it is."""
        if tick.mode not in (Mode.RUN, Mode.HOLD):
            self._ends_ns = None
        elif self._ends_ns is None:
            self._ends_ns = tick.now_ns + self._run_for_ns
        elif tick.now_ns >= self._ends_ns:
            ran_s = self._run_for_ns * 1e-9
            return RunVerdict(RunEnd.DAMP, f"ran for {ran_s:g} s, as asked (run_for_s)")
        return None


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of the command `act_policy_node`."""
    refuse_arguments("act_policy_node", __doc__, ACT_PARAMETERS, args)
    sys.exit(run_node(ActPolicyNode, args))


if __name__ == "__main__":
    main()
