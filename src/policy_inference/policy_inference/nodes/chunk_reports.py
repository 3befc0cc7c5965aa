# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Reports on a node's chunks: each one as a message, their rate and latency, and success.

Publishes: `action_chunk` (policy_msgs/ActionChunk, reliable, depth 10).
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from policy_msgs.msg import ActionChunk, PolicyStatus
from rclpy.node import Node

from policy_core.control.tick import RunVerdict, Tick
from policy_core.interfaces import Mode
from policy_core.members.chunk.controller import camera_input
from policy_core.members.chunk.policy import InferredChunk
from policy_core.members.chunk.success import DONE, success_watch
from policy_inference.kinds.opening import OpenedPolicy
from policy_inference.nodes import qos
from policy_inference.nodes.outputs import CHUNKS, set_stamp
from policy_inference.nodes.tick_observer import TickObserver, do_nothing

_COUNTED = 10
"""Number of chunks over which the inference rate is measured."""


class ChunkReports(TickObserver):
    """Observes the ticks of a chunk policy."""

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
