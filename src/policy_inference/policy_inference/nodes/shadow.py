# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A node's shadow policy, which runs on the active policy's ticks and never commands the robot."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from policy_msgs.msg import GuardCounter, PolicyStatus, ShadowStatus
from rclpy.node import Node

from policy_core.control.tick import Tick
from policy_core.errors import PolicyError, RefusedError
from policy_core.interfaces import F64, ShadowMode
from policy_inference.flight.ring import ShadowAnswer
from policy_inference.kinds.opening import OpenedPolicy
from policy_inference.nodes.tick_observer import Prepared, TickObserver, do_nothing
from policy_inference.shadow.divergence import Divergence
from policy_inference.shadow.shadow_process import ChunkExecution, ShadowProcess
from policy_inference.shadow.shadowed_member import ShadowedMember, shadowed_member

_UNREPORTED = 20_000
"""Maximum number of answers waiting for a report; more than the ticks between two reports."""


_Shadow = tuple[ShadowedMember, ShadowProcess | None]
"""The member that the shadow is compared with, and the shadow's process, if it could be started."""


class NodeShadow(TickObserver):
    """Runs a shadow on every tick and accumulates its answers.

    Attributes:
        arrived: Answers that arrived in the last tick, for the flight recorder.
    """

    def __init__(self, node: Node, policy: OpenedPolicy[Any], values: Mapping[str, Any]) -> None:
        if values.get("takeover"):
            raise PolicyError(
                "takeover: expected no shadow_bundle, found one; a shadow cannot be compared with "
                "a person: set only one of the two"
            )
        self._node, self._values = node, values
        self.arrived: tuple[ShadowAnswer, ...] = ()
        self._shadowed = shadowed_member(policy, values.get("shadow_member", ""))
        self._process: ShadowProcess | None = self._opened(policy, self._shadowed)
        facts = self._facts = self._process.facts
        self._differences: list[str] = self._process.differences
        self._number, self._gave_up, self._problem = 0, False, ""
        self._restart()
        node.get_logger().info(
            f"shadow, {facts.mode}: {facts.bundle_name} {facts.bundle_version} ({facts.bundle}) on "
            f"{facts.backend}: {facts.runs_on}"
        )
        self._warn_of_differences()

    def _opened(self, policy: OpenedPolicy[Any], shadowed: ShadowedMember) -> ShadowProcess:
        values = self._values
        request = policy.request.for_bundle(values["shadow_bundle"], values["shadow_backend"])
        mode, execution = ShadowMode(values["shadow_mode"]), None
        if shadowed.executes_chunks:
            simulated_time = bool(self._node.get_parameter("use_sim_time").value)
            execution = ChunkExecution(policy.chunks[0].settings, simulated_time)
        try:
            return ShadowProcess(request, shadowed.bundle, shadowed.state, mode, execution)
        except OSError as error:
            raise RefusedError(f"shadow: expected to start a process, found: {error}") from error

    def _restart(self) -> None:
        self._number, self._gave_up = 0, False
        self._shadowed.others = 0
        self._unreported = deque[ShadowAnswer](maxlen=_UNREPORTED)
        self._divergence = Divergence.of(self._shadowed.bundle.contract)

    @property
    def problem(self) -> str:
        return self._problem

    def _look(self) -> None:
        """Check that the shadow is running, and log once if it is not."""
        before, process = self._problem, self._process
        if process is not None and not self._gave_up:
            self._problem = process.problem()
        if self._problem and not before:
            self._node.get_logger().error(self._problem)

    def _warn_of_differences(self) -> None:
        for each in self._differences:
            self._node.get_logger().warning(f"shadow: contract: {each}")

    def recorded_settings(self) -> dict[str, str]:
        facts = {**self._facts._asdict(), "member": self._shadowed.name}
        return {f"shadow.{name}": text for name, text in facts.items()}

    def diagnostics(self) -> dict[str, str]:
        """Return figures that the status lacks; for per-joint figures, only the worst value."""
        divergence, facts, shadowed = self._count(), self._facts, self._shadowed
        steps = divergence.in_steps(divergence.rms)
        found = {
            "state": "does not work" if self._problem else "runs",
            "bundle": f"{facts.bundle_name} {facts.bundle_version}",
            **(
                {"member": shadowed.name, "ticks_other_members": str(shadowed.others)}
                if shadowed.name
                else {}
            ),
            "contract_differences": "; ".join(self._differences) or "none",
            "gain_error_largest": _largest(np.abs(divergence.gain - 1.0)),
            "correlation_smallest": _largest(-divergence.correlation, sign=-1.0),
            "beyond_limits_share": f"{divergence.beyond_limits_share:.6f}",
            "rms_largest": f"{divergence.rms.max():.6f}",
            "max_largest": f"{divergence.max.max():.6f}",
            **({} if steps is None else {"rms_steps_largest": f"{steps.max():.6f}"}),
        }
        return {f"shadow.{key}": text for key, text in found.items()}

    def report(self, status: PolicyStatus) -> None:
        """Check the shadow, and add its description and divergence to a status."""
        self._look()
        divergence, counts = self._count(), self._divergence.counts
        distances = {name: getattr(divergence, name) for name in ("mean", "rms", "max")}
        found = ShadowStatus(
            **self._facts._asdict(),
            problem=self._problem,
            **{outcome.name.lower(): count for outcome, count in counts.items()},
            beyond_limits=divergence.beyond_limits,
            duration_mean_s=divergence.duration_mean_s,
            duration_max_s=divergence.duration_max_s,
            guard_counters=[
                GuardCounter(name=name, count=count) for name, count in divergence.rules.items()
            ],
            joints=[*divergence.joints],
            **{name: values.tolist() for name, values in distances.items()},
            **{
                f"{name}_steps": _listed(divergence.in_steps(values))
                for name, values in distances.items()
            },
        )
        status.shadow = [found]

    def _count(self) -> Divergence:
        """Return the divergence over all answers so far; call from one thread only."""
        while self._unreported:
            self._divergence.add(self._unreported.popleft())
        return self._divergence

    def prepared(self, policy: OpenedPolicy[Any]) -> Prepared[_Shadow]:
        """Return a new policy's shadow, or why it has none; the policy takes over regardless."""
        shadowed = self._shadowed
        try:
            shadowed = shadowed_member(policy, self._values.get("shadow_member", ""))
            process = self._opened(policy, shadowed)
        except PolicyError as error:
            return Prepared(part=(shadowed, None), problem=str(error))
        return Prepared(part=(shadowed, process), abandon=process.close)

    def adopt(self, policy: OpenedPolicy[Any], prepared: Prepared[_Shadow]) -> Callable[[], None]:
        before, (self._shadowed, self._process) = self._process, prepared.part
        if self._process is not None:
            self._facts = self._process.facts
            self._differences = self._process.differences
            self._warn_of_differences()
            self._process.start()
        self._problem = prepared.problem
        self._restart()
        return before.close if before is not None else do_nothing

    def start(self) -> None:
        self._restart()
        if self._process is not None:
            self._process.start()

    def observe(self, tick: Tick) -> None:
        number, self._number = self._number, self._number + 1
        self.arrived = ()
        process = self._process
        if process is None or self._gave_up:
            return
        try:
            self.arrived = process.take()
            self._unreported.extend([each._replace(inferences=()) for each in self.arrived])
            question = self._shadowed.question(tick)
            if question is not None:
                process.give(number, question)
        except Exception:  # noqa: BLE001  a robot must not fail because of its shadow
            self._gave_up, self._problem = True, "shadow: gave up; see the log for the reason"
            self._node.get_logger().error(traceback.format_exc())

    def close(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None


def _largest(values: F64, sign: float = 1.0) -> str:
    """Return the largest value as text; "unknown" if no joint has one."""
    known = values[np.isfinite(values)]
    return f"{sign * known.max():.6f}" if known.size else "unknown"


def _listed(values: F64 | None) -> list[float]:
    return [] if values is None else values.tolist()
