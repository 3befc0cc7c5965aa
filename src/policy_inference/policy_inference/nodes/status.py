# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Reports from a policy node: ~/status, /diagnostics, and changes in the log.

Subscribes: `<driver>/status` (policy_msgs/RobotStatus) from the node that receives the commands, if
it publishes one; simulators do not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from policy_msgs.msg import GuardCounter, InputStatus, PolicyStatus, RobotStatus
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from std_msgs.msg import Header

from policy_core.bundle.state_fields import COMMAND, TWIST_STAMPED
from policy_core.bundle.store import RevocationWatch
from policy_core.control.controller import ControllerStatus
from policy_core.guard.bounds import Rule
from policy_core.interfaces import Mode
from policy_core.latency import LatencyWindow, TickSlowness
from policy_core.observation.distribution import DistributionWatch
from policy_core.words import FIRST_AWAITED
from policy_inference.backends.base import BackendBase
from policy_inference.kinds.opening import OpenedPolicy
from policy_inference.machine.machine import Machine
from policy_inference.machine.telemetry import Host, TelemetryReader, likely_causes
from policy_inference.nodes import qos
from policy_inference.nodes.control_loop import ControlLoop, NativeLoop, Pacer
from policy_inference.nodes.rclpy_gaps import Logger, full_name
from policy_inference.nodes.sampling import Sampled
from policy_inference.nodes.tick_observer import TickObserver
from policy_inference.status_fields import POLICY, diagnostic_values


class Health:
    """Checks latency, observation and telemetry once per report, and logs changes.

    Attributes:
        telemetry: Telemetry for the machine and the device, with the unit in each key.
        problems: Current problems, one sentence each.
        drifted: Observation terms that differ from training.
        revoked: Message saying that the version has been revoked; empty if it has not.
    """

    def __init__(
        self,
        rate_hz: float,
        backend: BackendBase,
        latency: LatencyWindow,
        observed: DistributionWatch | None,
        revocation: RevocationWatch,
        logger: Logger,
    ) -> None:
        """Store the sources of the values to check.

        Args:
            rate_hz: Expected tick rate.
            backend: Back end that reads its device's telemetry.
            latency: Tick durations.
            observed: Watch on the observation, if there are statistics to compare it with.
            revocation: Watch for a revocation of the running version.
            logger: Logger for the beginning and end of problems.
        """
        self._latency, self._logger, self._observed = latency, logger, observed
        self._revocation, self.revoked = revocation, ""
        self._slowness = TickSlowness(1.0 / rate_hz)
        self._reader = TelemetryReader(
            {"machine": Host(Machine()).read, backend.name: backend.telemetry}
        )
        self.telemetry: Mapping[str, str] = {}
        self.start()

    def start(self) -> None:
        self._slowness.restart()
        if self._observed is not None:
            self._observed.restart()
        self._counted, self._late, self._mode = self._latency.count, -1, Mode.DAMP
        self._logged: set[str] = set()
        self._reader.forget()
        self.problems: list[str] = []
        self.drifted: list[str] = []

    def update(self, snapshot: ControllerStatus) -> None:
        """Check once, and log what has begun or ended since the last check."""
        self.telemetry, problems = self._reader.look()
        for text in problems:
            self._logger.warning(text)
        causes = likely_causes(self.telemetry)
        slow, late, odd = self._slow(snapshot), self._came_late(snapshot), self._odd(snapshot.mode)
        self.revoked = self._revocation.look()
        found = {
            "revoked": self.revoked,
            "slow": slow and f"{slow}: {causes}",
            "late": late and f"{late}: {causes}",
            "odd": odd,
        }
        found = {kind: text for kind, text in found.items() if text}
        for kind in [kind for kind in found if kind not in self._logged]:
            self._logger.warning(found[kind])
        if "slow" in self._logged and not slow:
            self._logger.info("ticks are no longer slow")
        self._logged, self.problems, self._mode = set(found), list(found.values()), snapshot.mode

    def close(self) -> None:
        self._reader.close()

    def _slow(self, snapshot: ControllerStatus) -> str:
        since, self._counted = self._counted, self._latency.count
        self._slowness.add(self._latency.since(since), snapshot.mode)
        return self._slowness.text

    def _came_late(self, snapshot: ControllerStatus) -> str:
        before, self._late = self._late, snapshot.counters[Rule.INFERENCE_LATE.value]
        return "inference came too late" if 0 <= before < self._late else ""

    def _odd(self, mode: Mode) -> str:
        """Return the observation terms that differ from training."""
        self.drifted = []
        if self._observed is None or mode not in (Mode.RUN, Mode.HOLD):
            return ""
        if self._mode not in (Mode.RUN, Mode.HOLD):
            # The inputs may still hold the last observation of an earlier run.
            self._observed.restart()
        elif mode is Mode.RUN:
            self._observed.look()
        self.drifted = list(self._observed.outside)
        return "; ".join(self._observed.problems)


_TYPE = "policy_msgs/msg/RobotStatus"
_STATES = {
    getattr(RobotStatus, name): name
    for name in ("LISTENING", "TAKING", "FOLLOWING", "DAMPING", "RELEASING")
}


class DriverWatch:
    """Searches for the driver until found, then monitors its status.

    Attributes:
        drives_c: Last reported drive temperatures, degrees Celsius.
    """

    def __init__(self, node: Node, command_topic: str, stopped: Callable[[str], None]) -> None:
        """Start with no subscription.

        Args:
            node: Node that subscribes.
            command_topic: Full name of the topic to which the driver subscribes.
            stopped: Called with the driver's state and reason, for each status that shows that the
                driver does not follow commands although it has control or had it until then.
        """
        self._node, self._command_topic, self._stopped = node, command_topic, stopped
        self._subscription: Any = None
        self._refused = self._has_control = False
        self.drives_c: Sequence[float] = ()

    def look(self) -> None:
        if self._subscription is not None or self._refused:
            return
        try:
            self._subscription = self._found()
        except Exception as error:  # noqa: BLE001  raised without permission, as under SROS 2
            self._refused = True
            self._node.get_logger().warning(f"the driver's status is not received: {error}")

    def close(self) -> None:
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)

    def _found(self) -> Any:
        for receiver in self._node.get_subscriptions_info_by_topic(self._command_topic):
            topic = f"{full_name(receiver)}/status"
            if any(
                info.topic_type == _TYPE for info in self._node.get_publishers_info_by_topic(topic)
            ):
                return self._node.create_subscription(
                    RobotStatus,
                    topic,
                    self._hear,
                    qos.STATUS,
                    callback_group=MutuallyExclusiveCallbackGroup(),
                )
        return None

    def _hear(self, status: RobotStatus) -> None:
        self.drives_c = list(status.temperature_c)
        had_control, self._has_control = self._has_control, status.state != RobotStatus.LISTENING
        # With a driver that never took control, a policy may run without a robot, for inspection.
        if status.state != RobotStatus.FOLLOWING and (self._has_control or had_control):
            self._stopped(f"{_STATES.get(status.state, status.state)}, {status.reason}")


_SILENT_S = 1.0
"""Time without a tick, on the steady clock, after which the silence is reported."""
_LATE_SHARE = 0.5
"""Share of a period by which a tick may start late before it is reported."""
_SLOW_SHARE = 0.95
"""Share of the required rate below which the rate is reported."""


class StatusReporter:
    """Publishes ~/status and /diagnostics, and logs changes in mode, rate and publishers."""

    def __init__(
        self,
        node: Node,
        policy: OpenedPolicy[Any],
        topics: Mapping[str, Sampled[Any]],
        loop: ControlLoop | NativeLoop,
        pacer: Pacer,
        observer: TickObserver,
        topics_problem: Callable[[], str],
    ) -> None:
        """Create the publishers.

        Args:
            node: The publishing node.
            policy: The policy.
            topics: Subscription to each input.
            loop: Loop that ticks the policy.
            pacer: Pacer with the tick clock.
            observer: Tick observer.
            topics_problem: Returns the other nodes that command the robot, and publishers of an
                e-stop that is not received; empty if there are none.
        """
        self._node, self._policy, self._topics, self._loop = node, policy, topics, loop
        self._pacer, self._observer, self._topics_problem = pacer, observer, topics_problem
        self._status = node.create_publisher(PolicyStatus, "~/status", qos.STATUS)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", qos.DIAGNOSTICS)
        self._warned: set[str] = set()
        self._steps: dict[str, str] = {}
        self._health = self._make_health(policy)
        self.start()

    def _make_health(self, policy: OpenedPolicy[Any]) -> Health:
        return Health(
            policy.bundle.contract.rate_hz,
            policy.backend,
            policy.latency,
            policy.watch,
            RevocationWatch(policy.bundle),
            self._node.get_logger(),
        )

    def adopt(self, policy: OpenedPolicy[Any]) -> Callable[[], None]:
        """Report on a different policy from now on; return a function that stops the old reports.

        The returned function may take a moment if a driver hangs.
        """
        before, self._health = self._health, self._make_health(policy)
        self._policy = policy
        return before.close

    @property
    def telemetry(self) -> Mapping[str, str]:
        """Latest telemetry from the computer and the inference device; keys include the units."""
        return self._health.telemetry

    def start(self) -> None:
        """Measure the rate from now on; call it before the loop starts."""
        self._counted: tuple[int, int] | None = None
        self._rate_hz = 0.0
        self._slow = False
        self._silent = self._shared = self._busy = ""
        self._health.start()

    def report(self) -> None:
        snapshot = self._policy.controller.snapshot()
        self._silent = self._silence()
        self._look_at_shared_topics()
        self._look_at_lateness(snapshot)
        self._measure_rate()
        self._health.update(snapshot)
        status = self._compose(snapshot)
        self._status.publish(status)
        self._diagnostics.publish(self._diagnose(status))
        self._warn_of_clocks()
        self.log_edges()

    def log_edges(self) -> None:
        edges = self._policy.controller.edges
        while edges:
            mode, reason, at_ns = edges.popleft()
            # The event happened before its line is written, since no tick waits for the log.
            ago_ms = max(0, self._pacer.clock() - at_ns) * 1e-6
            text = f"{mode.name}: {reason} ({ago_ms:.0f} ms ago)"
            # rclpy does not accept two severities from one line of code.
            held = mode is Mode.HOLD and reason != FIRST_AWAITED
            if held or (mode is Mode.DAMP and ":" in reason):
                self._node.get_logger().error(text)
            else:
                self._node.get_logger().info(text)

    def problems(self) -> list[str]:
        """Return the reasons to refuse motion that stem from ticks, the back end and publishers."""
        problems = [
            f"{name}: {count} publishers, expected 1; at queue depth 1, they starve each other"
            if count
            else f"{name}: no publisher: its node is not running, or uses another topic name"
            for name, sampled in self._topics.items()
            if self._is_needed(name) and (count := sampled.publishers()) != 1
        ]
        problems += [
            f"{name}: {text}"
            for name, sampled in self._topics.items()
            if self._is_needed(name) and (text := self._type_problem(name, sampled))
        ]
        return [*filter(None, [self._silence(), self._policy.problem]), *problems]

    def _silence(self) -> str:
        silent_s = self._loop.silent_s()
        if silent_s < _SILENT_S:
            return ""
        return (
            f"no tick for {silent_s:.1f} s; the simulator's clock has stopped, or the back end "
            "hangs"
        )

    def close(self) -> None:
        self._health.close()
        self._node.destroy_publisher(self._status)
        self._node.destroy_publisher(self._diagnostics)

    def _look_at_shared_topics(self) -> None:
        before, self._shared = self._shared, self._topics_problem()
        if self._shared and self._shared != before:
            self._node.get_logger().error(self._shared)

    def _look_at_lateness(self, snapshot: ControllerStatus) -> None:
        """Check whether the machine delays ticks; while a fault is latched, keep the old report."""
        late_s = self._loop.late_s
        if late_s * self._policy.bundle.contract.rate_hz > _LATE_SHARE:
            begins = not self._busy
            self._busy = (
                f"the machine is too busy: a tick started {late_s * 1e3:.0f} ms late; set "
                "realtime.priority (docs/performance.md, On a robot), or end other programs"
            )
            if begins:
                self._node.get_logger().warning(self._busy)
        elif not snapshot.latched:
            self._busy = ""

    def _measure_rate(self) -> None:
        now_ns, ticks = self._pacer.clock(), self._loop.ticks
        if self._counted is None:
            # Simulated time is not known before the first tick.
            self._counted = (now_ns, ticks) if ticks else None
            return
        then_ns, ticks_then = self._counted
        asked_hz = self._policy.bundle.contract.rate_hz
        elapsed_s = (now_ns - then_ns) * 1e-9
        if 0.0 <= elapsed_s < 1.0:
            return
        self._counted = (now_ns, ticks)
        if elapsed_s < 0.0:  # simulated time was reset
            return
        self._rate_hz = (ticks - ticks_then) / elapsed_s
        slow = self._rate_hz < _SLOW_SHARE * asked_hz
        if slow != self._slow:
            text = f"rate reached {self._rate_hz:.1f} Hz, requested {asked_hz:g} Hz"
            logger = self._node.get_logger()
            if slow:
                logger.warning(text)
            else:
                logger.info(text)
        self._slow = slow

    def _compose(self, snapshot: ControllerStatus) -> PolicyStatus:
        policy, loop = self._policy, self._loop
        bundle, latency = policy.bundle, policy.latency.summary()
        problems = [self._busy, self._silent, self._shared, self._health.revoked]
        status = PolicyStatus(
            stamp=self._node.get_clock().now().to_msg(),
            mode=int(snapshot.mode),
            latched=snapshot.latched,
            authority=snapshot.authority,
            reason="; ".join(filter(None, [snapshot.reason, *problems])),
            bundle=str(bundle.path),
            bundle_name=bundle.contract.name,
            bundle_version=bundle.contract.version,
            bundle_sha256=bundle.sha256,
            backend=policy.backend.name,
            runs_on=policy.models.runs_on,
            fallback="\n".join(policy.models.skipped),
            nominal_known=bundle.contract.nominal is not None,
            rate_hz=bundle.contract.rate_hz,
            rate_reached_hz=0.0 if self._silent else self._rate_hz,
            latency_p50_s=latency.p50_s,
            latency_p99_s=latency.p99_s,
            latency_max_s=latency.max_s,
            ticks=loop.ticks,
            ticks_missed=loop.missed,
            guard_counters=[
                GuardCounter(name=name, count=count) for name, count in snapshot.counters.items()
            ],
            inputs=self._inputs(),
            telemetry=_key_values(self._health.telemetry),
        )
        self._observer.report(status)
        return status

    def _inputs(self) -> list[InputStatus]:
        now_ns, found = self._pacer.clock(), []
        for name, sampled in self._topics.items():
            entry = self._policy.controller.inputs[name]
            age_ns, publishers = entry.age_ns(now_ns), sampled.publishers()
            text = entry.describe(now_ns) if entry.is_stale(now_ns) else entry.problem
            text = text or self._policy.input_problem(name)
            text = "; ".join(filter(None, [text, self._type_problem(name, sampled)]))
            if publishers > 1 or (publishers == 0 and self._is_needed(name)):
                text = "; ".join(filter(None, [text, f"{publishers} publishers"]))
            if text and not text.startswith(name):
                text = f"{name}: {text}"
            self._warn(name, publishers)
            found.append(
                InputStatus(
                    name=name,
                    age_s=math.inf if age_ns is None else age_ns * 1e-9,
                    publishers=publishers,
                    ok=not text,
                    text=text,
                )
            )
        return found

    def _type_problem(self, name: str, sampled: Sampled[Any]) -> str:
        """Return the publishers of an input that ROS 2 does not connect, with the remedy."""
        if not (others := sampled.other_types()):
            return ""
        remedy = "stop them, or remap their topic"
        if name == COMMAND:
            value = "false" if sampled.type_name == TWIST_STAMPED else "true"
            remedy += f"; if they are right, set stamped_command to {value}"
        return f"{others}: not received; {remedy}"

    def _is_needed(self, name: str) -> bool:
        """Return True if the policy always needs an input; a command or a leader may be silent."""
        return self._policy.controller.inputs[name].timeout_ns is not None

    def _warn(self, name: str, publishers: int) -> None:
        """Log a second publisher: as a warning for the command, as an error for robot state."""
        if publishers <= 1:
            self._warned.discard(name)
        elif name not in self._warned:
            self._warned.add(name)
            logger = self._node.get_logger()
            text = f"{publishers} publishers on {name}"
            if name == COMMAND:
                logger.warning(f"{text}: the newest message wins")
            else:
                logger.error(f"{text}: stop all but one; they starve each other")

    def _warn_of_clocks(self) -> None:
        """Log each clock step once, even if several inputs have detected it."""
        seen: dict[str, list[str]] = {}
        for name, entry in self._policy.controller.inputs.items():
            if (step := entry.clock_step) and step is not self._steps.get(name):
                seen.setdefault(step, []).append(name)
                self._steps[name] = step
        for step, names in seen.items():
            self._node.get_logger().warning(f"{', '.join(names)}: {step}")

    def _diagnose(self, status: PolicyStatus) -> DiagnosticArray:
        level, text = DiagnosticStatus.OK, Mode(status.mode).name
        # Without a velocity command the robot stands still, which needs no warning.
        bad = [entry.text for entry in status.inputs if not entry.ok]
        skipped = self._policy.models.skipped
        odd = [
            *self._health.problems,
            *(f"not on {why}" for why in skipped),
            *filter(None, [self._observer.problem]),
        ]
        if bad or odd or self._slow or self._busy or self._silent:
            reasons = [
                self._busy,
                self._silent,
                *bad,
                *odd,
                "rate not reached" if self._slow else "",
            ]
            level, text = DiagnosticStatus.WARN, "; ".join(filter(None, reasons))
        if status.latched or status.mode == Mode.HOLD or self._shared:
            level, text = DiagnosticStatus.ERROR, "; ".join([status.reason, *odd])
        values = {
            **dict(diagnostic_values(POLICY, status)),
            "loop": self._loop.name,
            "core": self._policy.core,
            "drifted_terms": ", ".join(self._health.drifted),
            **({"revoked": self._health.revoked} if self._health.revoked else {}),
            **self._health.telemetry,
            **self._observer.diagnostics(),
        }
        return DiagnosticArray(
            header=Header(stamp=status.stamp),
            status=[
                DiagnosticStatus(
                    level=level,
                    name=f"{self._node.get_fully_qualified_name()}: policy",
                    message=text,
                    hardware_id=status.bundle_version,
                    values=_key_values(values),
                )
            ],
        )


def _key_values(values: Mapping[str, str]) -> list[KeyValue]:
    return [KeyValue(key=key, value=value) for key, value in values.items()]
