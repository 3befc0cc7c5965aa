# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a robot's nodes report, as metrics for Prometheus: docs/metrics.md lists them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from policy_msgs.msg import PolicyStatus, RobotStatus, SetStatus, ShadowStatus, TrialStatus
from prometheus_client.core import Metric
from sensor_msgs.msg import BatteryState

from policy_core.interfaces import Mode
from policy_inference.machine.machine import number_in
from policy_inference.metrics_server import Families

_STATES = ("LISTENING", "TAKING", "FOLLOWING", "DAMPING", "RELEASING")
"""Of a driver, by the number in policy_msgs/RobotStatus."""
_SHADOW_OUTCOMES = ("compared", "skipped", "lost", "failed", "not_finite", "beyond_limits")
_TRIAL_STATES = ("open", "passed", "failed", "kept", "ended")
_QUANTILES = (("0.5", "latency_p50_s"), ("0.99", "latency_p99_s"), ("1", "latency_max_s"))
_CHUNK_GAUGES = {
    "chunk.rate_hz": ("chunk_rate_hertz", "Chunks per second"),
    "chunk.steps_left": ("chunk_steps_left", "Steps of the chunk that are left"),
    "chunk.inference_p99_s": ("chunk_inference_p99_seconds", "Inference of a chunk"),
}
"""By their key in /diagnostics."""


class RobotMetrics:
    """Keeps the newest status of each node; a node that is silent has no values but `up` 0.

    Messages come on one thread, `collect` is called on another.
    """

    def __init__(
        self, robot: str, stale_after_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begin with no nodes.

        Args:
            robot: Label of all samples.
            stale_after_s: A node whose newest status is older is not up.
            clock: Steady, s.
        """
        self._robot, self._stale_after_s, self._clock = robot, stale_after_s, clock
        self._lock = threading.Lock()
        self._policies, self._drivers = dict[str, _Reports](), dict[str, _Reports]()
        self._battery = _Reports()

    def expect(self, node: str, message_type: type[Any]) -> None:
        """Show a node from now on, though it may not have reported yet.

        Args:
            node: Its full name.
            message_type: PolicyStatus or RobotStatus, of its `~/status`.
        """
        with self._lock:
            nodes = self._policies if message_type is PolicyStatus else self._drivers
            nodes.setdefault(node, _Reports())

    def take_status(self, node: str, message: PolicyStatus | RobotStatus) -> None:
        """Take a status of a node that is expected."""
        with self._lock:
            nodes = self._policies if isinstance(message, PolicyStatus) else self._drivers
            nodes[node].take(message, self._clock(), self._stale_after_s)

    def take_diagnostics(self, message: DiagnosticArray) -> None:
        """Take the diagnosis of those policy nodes that are expected."""
        with self._lock:
            for status in message.status:
                node, _, part = status.name.partition(": ")
                if part == "policy" and node in self._policies:
                    values = {entry.key: entry.value for entry in status.values}
                    self._policies[node].diagnosis = ord(status.level), values

    def take_battery(self, message: BatteryState) -> None:
        """Take the state of the battery."""
        with self._lock:
            self._battery.take(message, self._clock(), self._stale_after_s)

    def collect(self) -> Iterable[Metric]:
        """Return the metrics of this moment."""
        made, now_s = Families(robot=self._robot), self._clock()
        with self._lock:
            count = len(self._policies)
            made.gauge("policy_nodes", "Policy nodes seen since the exporter started", count)
            for node, reports in self._policies.items():
                if self._is_up(made, node, reports, now_s):
                    _policy(made, node, reports)
            for node, reports in self._drivers.items():
                if self._is_up(made, node, reports, now_s):
                    _driver(made, node, reports.newest)
            if self._battery.age_s(now_s) <= 30.0 * self._stale_after_s:
                _battery(made, self._battery.newest)
        return made

    def _is_up(self, made: Families, node: str, reports: _Reports, now_s: float) -> bool:
        age_s = reports.age_s(now_s)
        up = age_s <= self._stale_after_s
        text = "1 while the node publishes its status"
        made.gauge("up", text, int(up), node=node)
        text = "Since the newest status of the node came; +Inf: none came"
        made.gauge("status_age_seconds", text, age_s, node=node)
        return up


class _Reports:
    """The newest message of a node, and what only a sequence of them shows."""

    def __init__(self) -> None:
        self.newest: Any = None
        self.diagnosis: tuple[int, Mapping[str, str]] | None = None
        self.mode_s = dict.fromkeys(Mode, 0.0)
        self.version_since_s = 0.0
        self._received_s = float("-inf")

    def age_s(self, now_s: float) -> float:
        return now_s - self._received_s

    def take(self, message: Any, now_s: float, stale_after_s: float) -> None:
        before, age_s = self.newest, self.age_s(now_s)
        if isinstance(message, PolicyStatus):
            if before is not None and age_s <= stale_after_s and before.mode in self.mode_s:
                self.mode_s[before.mode] += age_s
            if before is None or before.bundle_sha256 != message.bundle_sha256:
                self.version_since_s, self.mode_s = time.time(), dict.fromkeys(Mode, 0.0)
        self.newest, self._received_s = message, now_s


def _policy(made: Families, node: str, reports: _Reports) -> None:
    status: PolicyStatus = reports.newest
    words = {
        "bundle": status.bundle_name,
        "version": status.bundle_version,
        "sha256": status.bundle_sha256,
        "backend": status.backend,
    }
    made.info("", "What the node runs", words, node=node)
    text = "Since when the exporter sees this version, Unix time"
    made.gauge("version_since_timestamp_seconds", text, reports.version_since_s, node=node)
    for mode in Mode:
        text = "1 for the mode of the node, 0 for the others"
        made.gauge("mode", text, int(status.mode == mode), node=node, mode=mode.name)
        text = "Time in each mode with this version, since the exporter sees it"
        made.counter("mode_seconds", text, reports.mode_s[mode], node=node, mode=mode.name)
    text = "1 while a fault holds the mode until it is reset"
    made.gauge("latched", text, int(status.latched), node=node)
    text = "How often the guard acted, by its rule"
    for counter in status.guard_counters:
        made.counter("guard", text, counter.count, node=node, rule=counter.name)
    _timing(made, node, status)
    for entry in status.inputs:
        text = "Age of the newest message of an input; +Inf: none came"
        made.gauge("input_age_seconds", text, entry.age_s, node=node, input=entry.name)
        text = "1 while the input may be used"
        made.gauge("input_ok", text, int(entry.ok), node=node, input=entry.name)
    made.telemetry({entry.key: entry.value for entry in status.telemetry}, node=node)
    for shadow in status.shadow:
        _shadow(made, node, shadow)
    for trial in status.trial:
        _trial(made, node, trial)
    for found in status.policy_set:
        _set(made, node, found)
    if reports.diagnosis:
        _diagnosis(made, node, *reports.diagnosis)


def _timing(made: Families, node: str, status: PolicyStatus) -> None:
    made.counter("ticks", "Ticks since activation", status.ticks, node=node)
    text = "Deadlines at which no tick could start"
    made.counter("ticks_missed", text, status.ticks_missed, node=node)
    text = "Rate that the contract asks for"
    made.gauge("rate_asked_hertz", text, status.rate_hz, node=node)
    text = "Rate reached over the last second; 0 before it is over"
    made.gauge("rate_hertz", text, status.rate_reached_hz, node=node)
    if status.latency_max_s > 0.0:  # no tick, no latency
        text = "From sampling to the command, of the latest 1000 ticks"
        for quantile, field in _QUANTILES:
            value = getattr(status, field)
            made.gauge("latency_seconds", text, value, node=node, quantile=quantile)


def _shadow(made: Families, node: str, shadow: ShadowStatus) -> None:
    words = {
        "bundle": shadow.bundle_name,
        "version": shadow.bundle_version,
        "sha256": shadow.bundle_sha256,
        "backend": shadow.backend,
        "mode": shadow.mode,
    }
    made.info("shadow", "The policy that runs beside and never commands", words, node=node)
    made.gauge("shadow_ok", "1 while the shadow answers", int(not shadow.problem), node=node)
    for outcome in _SHADOW_OUTCOMES:
        text, count = "Ticks of the shadow, by outcome", getattr(shadow, outcome)
        made.counter("shadow_ticks", text, count, node=node, outcome=outcome)
    text = "How often the guard would have acted on the shadow, by its rule"
    for counter in shadow.guard_counters:
        made.counter("shadow_guard", text, counter.count, node=node, rule=counter.name)
    made.gauge("shadow_tick_seconds", "Longest tick of it", shadow.duration_max_s, node=node)
    for name, text, suffix in (
        ("shadow_distance", "Distance of the targets of both policies, in their unit", ""),
        ("shadow_distance_steps", "The same in steps of a healthy run", "_steps"),
    ):
        for statistic in ("mean", "rms", "max"):
            values = getattr(shadow, f"{statistic}{suffix}")
            for joint, value in zip(shadow.joints, values, strict=False):
                made.gauge(name, text, value, node=node, joint=joint, statistic=statistic)


def _set(made: Families, node: str, found: SetStatus) -> None:
    for state in found.states:
        text = "1 for the state of the policy set that commands, 0 for the others"
        made.gauge("set_state", text, int(found.state == state), node=node, state=state)
    text = "Switches between the states of the set, since it was configured"
    made.counter("set_switches", text, found.switches, node=node)
    text = "Switches because a member failed"
    made.counter("set_fallbacks", text, found.fallbacks, node=node)
    text = "Largest step of a joint's target in the last switch, as a share of a healthy run's"
    made.gauge("set_last_step_ratio", text, found.last_step_ratio, node=node)


def _trial(made: Families, node: str, trial: TrialStatus) -> None:
    words = {
        "version": trial.version,
        "version_before": trial.version_before,
        "gate": trial.gate,
    }
    made.info("trial", "The newest trial of the bundle", words, node=node)
    for state in _TRIAL_STATES:
        text = "1 for the state of the newest trial, 0 for the others"
        labels = {"node": node, "version": trial.version, "state": state}
        made.gauge("trial_state", text, int(trial.state == state), **labels)
    text = "RUN time of the newest trial"
    made.gauge("trial_run_seconds", text, trial.run_time_s, node=node)
    text = "RUN time that the newest trial takes"
    made.gauge("trial_run_limit_seconds", text, trial.run_time_limit_s, node=node)


def _diagnosis(made: Families, node: str, level: int, values: Mapping[str, str]) -> None:
    text = "Level in /diagnostics: 0 OK, 1 WARN, 2 ERROR"
    made.gauge("diagnostics_level", text, level, node=node)
    drifted = [term for term in values.get("drifted_terms", "").split(", ") if term]
    text = "Terms of the observation that are often outside their range in training"
    made.gauge("drifted_terms", text, len(drifted), node=node)
    text = "1 if a signed statement on the robot has revoked the version"
    made.gauge("revoked", text, int("revoked" in values), node=node)
    for key, (name, text) in _CHUNK_GAUGES.items():
        if (value := number_in(values.get(key, ""))) is not None:
            made.gauge(name, text, value, node=node)


def _driver(made: Families, node: str, status: RobotStatus) -> None:
    for number, state in enumerate(_STATES):
        text = "1 for the state of the driver, 0 for the others"
        made.gauge("driver_state", text, int(status.state == number), node=node, state=state)
    text = "Frames per second over the last second"
    made.gauge("driver_rate_hertz", text, status.state_rate_hz, node=node, frames="from_robot")
    made.gauge("driver_rate_hertz", text, status.command_rate_hz, node=node, frames="to_robot")
    text = "Longest time between two commands since control was taken"
    made.gauge("driver_largest_gap_seconds", text, status.largest_gap_s, node=node)
    for joint, degrees in zip(status.joint_names, status.temperature_c, strict=False):
        text = "Temperature of a drive"
        made.gauge("joint_temperature_celsius", text, degrees, node=node, joint=joint)


def _battery(made: Families, battery: BatteryState) -> None:
    made.gauge("battery_ratio", "Charge of the battery, 1 is full", battery.percentage)
    made.gauge("battery_volts", "Voltage of the battery", battery.voltage)
