# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The node that runs a policy set: as the joint policy node, with switches between its states.

Subscribes (best effort, depth 1, as far as a member's contract needs them): `joint_states`
(sensor_msgs/JointState), `imu/data` (sensor_msgs/Imu), `odom` (nav_msgs/Odometry), `cmd_vel`
(geometry_msgs/Twist or TwistStamped), external vectors (std_msgs/Float32MultiArray), per camera
`CAMERA/image_raw` (sensor_msgs/Image) or `CAMERA/image_raw/compressed`
(sensor_msgs/CompressedImage); `estop` (std_msgs/Bool, reliable); `~/switch_to` (std_msgs/String,
reliable, depth 1), as the service `~/switch`, with a refusal in the log. Under `use_sim_time`:
`/clock`.
Publishes: the chosen output (reliable, depth 1), `~/status` (policy_msgs/PolicyStatus, reliable,
transient local), `/diagnostics`.
Serves: `~/switch` (policy_msgs/SwitchState); (std_srvs/Trigger) `~/stand`, `~/run`, `~/damp`,
`~/estop`, `~/reset`; `~/load` (policy_msgs/LoadBundle). In a state from which the robot may not
stand up, `~/stand` begins the way back, and the robot stands up at its end. The flight recorder:
see docs/flight_recorder.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from policy_msgs.msg import PolicyStatus, SetStatus
from policy_msgs.srv import SwitchState
from std_msgs.msg import String

from policy_core.errors import RefusedError, RobotError
from policy_core.guard.bounds import FIRST_AWAITED
from policy_core.interfaces import Mode
from policy_core.sets.chunk_member import ChunkMember
from policy_inference.kinds.policy_set import OpenedPolicySet, SetKind
from policy_inference.nodes import qos
from policy_inference.nodes.camera_sampler import CameraSampler, subscribe_with_cameras
from policy_inference.nodes.chunk_settings import SET_PARAMETERS, chunk_settings_given
from policy_inference.nodes.parameters import refuse_arguments
from policy_inference.nodes.policy_node import PolicyNode
from policy_inference.nodes.process import run_node
from policy_inference.nodes.rclpy_gaps import Logger
from policy_inference.nodes.sampler import Sampler
from policy_inference.nodes.sampling import Sampled, SampleGroup, decoder_for
from policy_inference.nodes.tick_observer import TickObserver, do_nothing


class PolicySetNode(PolicyNode[OpenedPolicySet]):
    """Runs a policy set, and a flight recorder beside it."""

    def __init__(self) -> None:
        """Declare the parameters; nothing else exists before configure."""
        super().__init__("policy_set_node", SET_PARAMETERS)
        self._decode = decoder_for(String)

    def set_up(self) -> None:
        """Set up what every policy node has, and the service for switches."""
        super().set_up()
        service = self.create_service(
            SwitchState, "~/switch", self._switch, qos_profile=qos.REQUESTS
        )
        self._closers.callback(self.destroy_service, service)
        topic = self.create_subscription(
            String, "~/switch_to", self._hear, qos.SWITCH, raw=True, event_callbacks=qos.NoEvents()
        )
        self._closers.callback(self.destroy_subscription, topic)

    def kind_of(self, values: Mapping[str, Any]) -> SetKind:
        """Return what opens policy sets, chunk policies with the settings of the parameters."""
        simulated_time = bool(self.get_parameter("use_sim_time").value)
        return SetKind(chunk_settings_given(values), simulated_time=simulated_time)

    def subscribe(self, group: SampleGroup, values: Mapping[str, Any]) -> dict[str, Sampled[Any]]:
        """Subscribe to what the members need."""
        return subscribe_with_cameras(
            self,
            group,
            self.controller,
            self.policy.frames,
            values["image_transport"],
            stamped_command=values["stamped_command"],
        )

    def sampler_of(self, policy: OpenedPolicySet) -> Sampler:
        """Return what fills the state of a set, and the frames of its members."""
        return CameraSampler(
            self.topics, policy.controller, policy.frames, policy.bundle.contract.joints.on_robot()
        )

    def own_observers(
        self, policy: OpenedPolicySet, values: Mapping[str, Any]
    ) -> list[TickObserver]:
        """Return what reports on switches."""
        return [SwitchReports(policy, self.get_logger())]

    def _switch(
        self, request: SwitchState.Request, response: SwitchState.Response
    ) -> SwitchState.Response:
        if not self.running:
            response.message = "the node is not active; activate it first"
            return response
        try:
            with self.loop.between_ticks():
                self.policy.requests.switch(request.state)
        except RefusedError as error:
            response.message = str(error)
        else:
            response.success, response.message = True, f"{request.state} is asked for"
        self.report()
        return response

    def _hear(self, data: bytes) -> None:
        """Ask for the state that a message names; a refusal is logged."""
        try:
            if not self.running:
                raise RefusedError("the node is not active; activate it first")
            state = self._decode(data).data
            with self.loop.between_ticks():
                self.policy.requests.switch(state)
        except (RefusedError, RobotError) as error:
            self.get_logger().warning(f"switch_to: {error}", throttle_duration_sec=1.0)
        self.report()


class SwitchReports(TickObserver):
    """Reports on the switches of a set."""

    def __init__(self, policy: OpenedPolicySet, logger: Logger) -> None:
        """Observe this set from the next tick on."""
        self._policy, self._logger = policy, logger
        self._held = frozenset[str]()

    def _commanding(self) -> list[ChunkMember]:
        """Return the chunk policies that command now."""
        if self._policy.controller.mode is not Mode.RUN:
            return []
        state = self._policy.bundle.contract.states[self._policy.switching.state]
        return [member for member in self._policy.chunk_members if member.name in state.members]

    @property
    def problem(self) -> str:
        """What keeps chunks away from members that command; and which joints swing."""
        found = []
        for member in self._commanding():
            why = member.held or member.policy.problem
            found += [f"{member.name}: {why}"] if why and why != FIRST_AWAITED else []
            found += [f"{member.name}: {each}" for each in member.policy.oscillation.problems]
        return "; ".join(found)

    def follow(self, policy: OpenedPolicySet, prepared: object) -> Callable[[], None]:
        """Report on another set from now on."""
        self._policy = policy
        return do_nothing

    def log(self) -> None:
        """Log the requests that were not granted since the last call, and which joints are held."""
        refusals = self._policy.policy_set.refusals
        while refusals:
            self._logger.warning(refusals.popleft())
        held = {each.name: each.held for each in self._commanding() if each.held}
        for name in sorted(held.keys() - self._held):
            self._logger.warning(f"{name}: its joints are held: {held[name]}")
        self._held = frozenset(held)

    def diagnostics(self) -> Mapping[str, str]:
        """Return the state, what is asked for, and figures of the last switch."""
        report = self._policy.switching
        return {
            "set.state": report.state,
            "set.asked": report.asked,
            "set.refused": report.refused,
            "set.switches": str(report.switches),
            "set.fallbacks": str(report.fallbacks),
            "set.last_switch": " -> ".join(report.last[:2]),
            "set.last_step_ratio": f"{report.step_ratio:.2f}",
            **{key: text for each in self._policy.chunk_members for key, text in _figures(each)},
        }

    def stop(self) -> None:
        """Log what is left to log; after the last tick."""
        self.log()

    def report(self, status: PolicyStatus) -> None:
        """Add to a status which state commands, and what came of the last switch."""
        report = self._policy.switching
        last_from, last_to, last_reason = report.last or ("", "", "")
        status.policy_set = [
            SetStatus(
                state=report.state,
                states=[*self._policy.bundle.contract.states],
                blending=report.is_blending,
                asked=report.asked,
                refused=report.refused,
                switches=report.switches,
                fallbacks=report.fallbacks,
                last_from=last_from,
                last_to=last_to,
                last_reason=last_reason,
                last_step_ratio=report.step_ratio,
            )
        ]


def _figures(member: ChunkMember) -> Iterator[tuple[str, str]]:
    """Yield the figures of a chunk policy for `/diagnostics`."""
    key, latency = f"set.{member.name}", member.policy.latency.summary()
    yield f"{key}.held", member.held
    yield f"{key}.steps_left", str(member.policy.left)
    yield f"{key}.inference_p50_s", f"{latency.p50_s:.6f}"
    yield f"{key}.inference_p99_s", f"{latency.p99_s:.6f}"


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of the command `policy_set_node`."""
    refuse_arguments("policy_set_node", __doc__, SET_PARAMETERS, args)
    sys.exit(run_node(PolicySetNode, args))
