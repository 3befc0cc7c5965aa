# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Parts of a node for chunk policies: cameras, reports on chunks, takeover by a person.

Publishes: `action_chunk` (policy_msgs/ActionChunk, reliable, depth 10), and for a takeover
`intervention` (std_msgs/Bool, reliable, depth 1) with each tick and at the end: true while the arm
follows a person (never in HOLD); `leader/joint_command` (policy_msgs/JointCommand, reliable, depth
1) while the leader's pose is known: the target pose for a motorized leader, with zero stiffness
while a person drives.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from policy_msgs.msg import ActionChunk, PolicyStatus
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Bool

from policy_core.bundle.state_fields import LEADER
from policy_core.control.controller import Controller
from policy_core.control.tick import RunVerdict, Tick
from policy_core.errors import RobotError
from policy_core.interfaces import Mode
from policy_core.members.chunk.controller import camera_input
from policy_core.members.chunk.observation_sync import FrameBuffer
from policy_core.members.chunk.policy import InferredChunk
from policy_core.members.chunk.success import DONE, success_watch
from policy_core.members.chunk.takeover import Driver, LeaderGuide
from policy_core.observation.freshness import Input
from policy_core.observation.images import read_frame
from policy_inference.kinds.opening import OpenedPolicy
from policy_inference.messages.readers import stamp_ns
from policy_inference.nodes import qos
from policy_inference.nodes.control_loop import DueTick
from policy_inference.nodes.outputs import CHUNKS, Output, set_stamp
from policy_inference.nodes.sampler import Sampler, subscribe
from policy_inference.nodes.sampling import Sampled, SampleGroup
from policy_inference.nodes.settings import RAW, TRANSPORTS
from policy_inference.nodes.tick_observer import TickObserver, do_nothing

FramesOf = Mapping[str, Sequence[FrameBuffer]]
"""Buffers for new frames by camera, one for each policy that observes the camera."""


def subscribe_with_cameras(
    node: Node,
    group: SampleGroup,
    inputs: Iterable[str],
    frames: FramesOf,
    image_transport: str,
    *,
    stamped_command: bool,
) -> dict[str, Sampled[Any]]:
    """Subscribe to inputs; return the subscriptions by input name.

    Args:
        node: Node that subscribes.
        group: Callback group that keeps the executor away from the subscriptions.
        inputs: Names of the inputs.
        frames: Buffers by camera; no other input is a camera.
        image_transport: Image transport: a key of `TRANSPORTS`.
        stamped_command: Same as for `subscribe`.
    """
    cameras = {camera_input(name): name for name in frames}
    others = [name for name in inputs if name not in cameras]
    message: type[Any] = Image if image_transport == RAW else CompressedImage
    images: dict[str, Sampled[Any]] = {
        entry: Sampled(node, group, message, f"{name}/{TRANSPORTS[image_transport]}")
        for entry, name in cameras.items()
    }
    return {**subscribe(node, group, others, stamped_command=stamped_command), **images}


class CameraSampler(Sampler):
    """At each tick, passes the newest message of each input to policies with cameras."""

    def __init__(
        self,
        topics: Mapping[str, Sampled[Any]],
        controller: Controller,
        frames: FramesOf,
        names: Sequence[str],
    ) -> None:
        cameras = {camera_input(name): buffers for name, buffers in frames.items()}
        super().__init__(
            {name: sampled for name, sampled in topics.items() if name not in cameras},
            controller,
            names,
        )
        self._cameras = [
            (controller.inputs[name], topics[name], tuple(buffers))
            for name, buffers in cameras.items()
        ]

    def sample(self, tick: DueTick) -> None:
        """Take the newest message from each input; images are checked but not yet decoded."""
        super().sample(tick)
        for entry, sampled, buffers in self._cameras:
            try:
                _take(sampled, entry, buffers, tick)
            except RobotError as error:
                entry.reject(str(error))

    def restart(self) -> None:
        super().restart()
        for _, _, buffers in self._cameras:
            for buffer in buffers:
                buffer.clear()


def _take(
    sampled: Sampled[Any], entry: Input, buffers: Sequence[FrameBuffer], tick: DueTick
) -> None:
    message = sampled.take()
    if message is None or not entry.is_new(stamp := stamp_ns(message), tick.now_ns):
        return
    frames = [read_frame(message, buffer.camera) for buffer in buffers]
    entry.accept(tick.now_ns, stamp, tick.ros_now_ns)
    assert entry.measured_ns is not None  # set by `accept`
    for buffer, frame in zip(buffers, frames, strict=True):
        buffer.add(frame, entry.measured_ns)
        entry.problem = entry.problem or buffer.problem
        entry.repeats = buffer.repeats


_COUNTED = 10
"""Number of chunks over which the inference rate is averaged."""


class ChunkReports(TickObserver):
    """Observes a chunk policy's ticks and publishes its chunks."""

    def __init__(self, node: Node, policy: OpenedPolicy[Any]) -> None:
        self._node = node
        self._publisher = node.create_publisher(ActionChunk, CHUNKS, qos.CHUNKS)
        self.adopt(policy, None)

    def adopt(self, policy: OpenedPolicy[Any], prepared: object) -> Callable[[], None]:
        contract, self._policy = policy.bundle.contract, policy
        (self._member,) = policy.chunks
        self._success = success_watch(contract)
        self._message = ActionChunk(
            names=list(contract.joints.on_robot(contract.action.joints)),
            period_s=1.0 / contract.rate_hz,
        )
        self.start()
        return do_nothing

    def start(self) -> None:
        self._came_ns = deque[int](maxlen=_COUNTED)
        self._now_ns = 0
        self._sent, self._left, self._problem = 0, 0, ""
        self._swings = self._was_done = False
        self._frozen = frozenset[str]()
        if self._success is not None:
            self._success.restart()

    def observe(self, tick: Tick) -> RunVerdict | None:
        policy = self._member.policy
        runs = tick.mode in (Mode.RUN, Mode.HOLD)
        self._now_ns, self._left = tick.now_ns, policy.left if runs else 0
        self._problem = policy.problem if runs else ""
        while policy.chunks:
            self._publish(policy.chunks.popleft(), tick)
        return None if self._success is None else self._success.observe(tick, policy.success)

    def _publish(self, chunk: InferredChunk, tick: Tick) -> None:
        message = self._message
        set_stamp(message.stamp, tick.stamp_ns - (tick.now_ns - chunk.time_ns))
        message.sequence, message.steps = self._sent, len(chunk.targets)
        message.data = array("d", chunk.targets.tobytes())
        self._publisher.publish(message)
        self._sent += 1
        self._came_ns.append(tick.now_ns)

    @property
    def problem(self) -> str:
        return "; ".join(filter(None, [self._problem, self._oscillation()]))

    def _oscillation(self) -> str:
        runs = self._policy.controller.mode in (Mode.RUN, Mode.HOLD)
        return "; ".join(self._member.policy.oscillation.problems) if runs else ""

    def diagnostics(self) -> Mapping[str, str]:
        latency = self._member.policy.latency.summary()
        runs = self._policy.controller.mode in (Mode.RUN, Mode.HOLD)
        return {
            "chunk.mode": self._member.settings.mode,
            "chunk.count": str(self._sent),
            "chunk.steps_left": str(self._left),
            "chunk.rate_hz": f"{self._rate_hz() if runs else 0.0:.2f}",
            "chunk.inference_p50_s": f"{latency.p50_s:.6f}",
            "chunk.inference_p99_s": f"{latency.p99_s:.6f}",
            "arm.oscillation": self._oscillation(),
            **self._probability(),
            **{f"camera.{name}.age_s": self._age(name) for name in self._member.frames},
        }

    def _probability(self) -> Mapping[str, str]:
        if self._success is None or self._success.probability is None:
            return {}
        return {"success.probability": f"{self._success.probability:.3f}"}

    def report(self, status: PolicyStatus) -> None:
        if self._success is not None:
            reached, awaited = PolicyStatus.SUCCESS_REACHED, PolicyStatus.SUCCESS_AWAITED
            status.success = reached if self._success.done else awaited

    def _rate_hz(self) -> float:
        came_ns = tuple(self._came_ns)
        if len(came_ns) < 2:
            return 0.0
        # A gap longer than the usual interval lowers the rate.
        elapsed_ns = max(came_ns[-1] - came_ns[0], self._now_ns - came_ns[1])
        return (len(came_ns) - 1) / (elapsed_ns * 1e-9) if elapsed_ns > 0 else 0.0

    def _age(self, camera: str) -> str:
        age_ns = self._policy.controller.inputs[camera_input(camera)].age_ns(self._now_ns)
        return "never" if age_ns is None else f"{max(0, age_ns) * 1e-9:.3f}"

    def log(self) -> None:
        if self._success is not None:
            done, was_done, self._was_done = self._success.done, self._was_done, self._success.done
            if done and not was_done:
                self._node.get_logger().info(DONE)
        found, swung = self._oscillation(), self._swings
        self._swings = bool(found)
        if found and not swung:
            self._node.get_logger().warning(found)
        problems = {name: buffer.problem for name, buffer in self._member.frames.items()}
        frozen, before = frozenset(filter(problems.get, problems)), self._frozen
        self._frozen = frozen
        for name in sorted(frozen - before):
            self._node.get_logger().warning(f"camera {name}: {problems[name]}")
        for name in sorted(before - frozen):
            self._node.get_logger().info(f"camera {name}: its images change again")

    def close(self) -> None:
        self._node.destroy_publisher(self._publisher)


_DRIVING = (Mode.RUN, Mode.HOLD)
_LOGGED_EVERY_S = 2.0


class TakeoverReports(TickObserver):
    """Observes the ticks of a chunk policy from which a person may take over."""

    def __init__(
        self,
        node: Node,
        policy: OpenedPolicy[Any],
        topics: Mapping[str, Sampled[Any]],
        values: Mapping[str, Any],
    ) -> None:
        """Create the publishers.

        Args:
            node: The node.
            policy: The policy.
            topics: Subscription to each input.
            values: The node's parameters.
        """
        self._node, self._leader = node, topics[LEADER.name]
        self._intervention = node.create_publisher(Bool, "intervention", qos.COMMAND)
        self._output = Output(
            node,
            "joint_command",
            policy.bundle.contract,
            values["command_valid_for_s"],
            namespace="leader/",
        )
        self.adopt(policy, None)

    def adopt(self, policy: OpenedPolicy[Any], prepared: object) -> Callable[[], None]:
        assert policy.takeover is not None
        assert policy.takeover.person is not None  # or there is nothing to report
        self._policy, self._takeover = policy, policy.takeover.person
        self._guide = LeaderGuide(policy.bundle.contract)
        return do_nothing

    def start(self) -> None:
        self._output.start()
        self._guide = LeaderGuide(self._policy.bundle.contract)

    @property
    def driver(self) -> Driver | None:
        """Source of the arm's targets; None if no policy runs."""
        return self._takeover.driver if self._policy.controller.mode in _DRIVING else None

    def observe(self, tick: Tick) -> None:
        takeover, sent = self._takeover, tick.targets
        self._say_who_drives(tick.mode)
        targets = self._guide.targets(
            tick.mode,
            takeover.driver,
            tick.state["joint_pos"] if sent is None else sent.position,
            None if sent is None else takeover.leader_pose(tick.now_ns),
        )
        if targets is not None:
            self._output.publish(targets, tick.stamp_ns)

    def diagnostics(self) -> Mapping[str, str]:
        driver, takeover = self.driver, self._takeover
        off = {}
        if driver is Driver.HANDOVER:
            off = dict(zip(takeover.joints, takeover.off_rad, strict=True))
        return {
            "takeover.driver": "none" if driver is None else driver.value,
            "takeover.tolerance_rad": f"{takeover.tolerance_rad:g}",
            **{f"takeover.off_rad.{name}": f"{value:+.3f}" for name, value in off.items()},
        }

    def refusal(self) -> str:
        """Return why the leader's publishers rule out a takeover; "" if they do not."""
        count = self._leader.publishers()
        if count == 1:
            return ""
        return f"{LEADER.name}: {count} publishers, expected only the leader arm's node"

    def observe_failure(self, tick: Tick) -> None:
        self._say_who_drives(Mode.DAMP)

    def log(self) -> None:
        """Refuse two leaders; while a takeover is pending, log the leader's distance to the arm."""
        count = self._leader.publishers()
        self._leader.refused = f"{count} publishers, expected one" if count > 1 else ""
        if text := self._policy.input_problem(LEADER.name):
            self._node.get_logger().info(text, throttle_duration_sec=_LOGGED_EVERY_S)

    def stop(self) -> None:
        """Report that no person drives; a leader holds its pose once its commands have expired."""
        self._say_who_drives(Mode.DAMP)

    def close(self) -> None:
        self._node.destroy_publisher(self._intervention)
        self._node.destroy_publisher(self._output.publisher)

    def _say_who_drives(self, mode: Mode) -> None:
        drives = mode is Mode.RUN and self._takeover.driver is Driver.PERSON
        self._intervention.publish(Bool(data=drives))
