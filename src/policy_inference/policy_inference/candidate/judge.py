# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Judges each tick of a version on trial by the gates of its `trial.yaml`; no ROS, no files."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping

import numpy as np

from policy_core.bundle.set_contract import HostedContract
from policy_core.control.tick import Tick
from policy_core.guard.bounds import Rule, Trip
from policy_core.interfaces import F64, JointTargets, Kind, Mode
from policy_core.latency import LatencyWindow
from policy_core.observation.state import tilt_rad
from policy_core.words import FIRST_AWAITED
from policy_inference.candidate.gates import GateResult
from policy_store.trial_file import TrialSettings

_MEAN_OVER_S = 5.0
"""Time constant of the exponential mean square of tracking error and torque."""
_LATENCY_EVERY_TICKS = 50
"""The percentile of a window takes longer than all other figures together."""


class TrialJudge:
    """Accumulates RUN time and figures of the policy; all methods belong to the control thread.

    Attributes:
        figures: Newest value of each active gate, in the unit of its name.
        running: True if the policy runs, or is held during a run.
        temperature_c: Set from outside; not finite if unknown.
    """

    def __init__(
        self,
        settings: TrialSettings,
        contract: HostedContract,
        tick: Tick,
        latency: LatencyWindow,
        counts: Mapping[str, float],
        *,
        simulated_time: bool,
    ) -> None:
        """Continue from the counts of earlier runs of the trial.

        Args:
            settings: Settings of the trial.
            contract: Contract of the policy.
            tick: Tick of the policy's controller.
            latency: Durations of its ticks.
            counts: As `VersionTrial.counts`.
            simulated_time: As for `TrialGates.judged`.
        """
        self._gates = settings.gates.judged(simulated_time=simulated_time)
        self._settings, self._latency = settings, latency
        self._period_s = 1.0 / contract.rate_hz
        self._latency_from = latency.count
        state, joints = tick.state, contract.joints
        self._joint_pos, self._joint_vel = state["joint_pos"], state.get("joint_vel")
        self._gravity = state.get("gravity_body")
        self._effort_limit = joints.effort_limit
        kinds = contract.command_kinds
        self._posed = np.array([kinds.get(name) is Kind.POSITION for name in joints.names])
        self._weight = min(1.0, self._period_s / _MEAN_OVER_S)
        self._sent = np.zeros((6, len(joints.names)))  # rows as in JointTargets.block
        self._has_sent = False
        self._tracking, self._torque = np.zeros((2, len(joints.names)))
        self._names = joints.names
        self._last_ns: int | None = None
        self._trip: Trip | None = tick.trip
        self._fault = ""
        self._run_ns = round(counts.get("run_time_s", 0.0) * 1e9)
        self._ticks, self._hold_ticks, self._missed, self._falls, self._latched = (
            int(counts.get(name, 0))
            for name in ("ticks", "hold_ticks", "missed_ticks", "falls", "latched_faults")
        )
        self.figures = dict.fromkeys(self._gates, 0.0)
        self.running = False
        self.temperature_c = math.nan

    @property
    def run_time_s(self) -> float:
        """RUN time of the whole trial, s, on the clock of the ticks."""
        return self._run_ns * 1e-9

    @property
    def time_is_up(self) -> bool:
        return self.run_time_s >= self._settings.run_time_s

    @property
    def counts(self) -> dict[str, float]:
        return {
            "run_time_s": round(self.run_time_s, 3),
            "ticks": self._ticks,
            "hold_ticks": self._hold_ticks,
            "missed_ticks": self._missed,
            "falls": self._falls,
            "latched_faults": self._latched,
        }

    def observe(self, tick: Tick) -> GateResult | None:
        """Process a completed tick; return the first exceeded gate."""
        mode = tick.mode
        if self.running:
            self._note_faults(tick.trip)
        goes_on = mode is Mode.RUN or (mode is Mode.HOLD and self.running)
        if goes_on and self.running and self._last_ns is not None:
            self._run_ns += max(0, tick.now_ns - self._last_ns)
            self._missed += tick.missed
        if goes_on:
            held = mode is Mode.HOLD and tick.reason != FIRST_AWAITED
            self._ticks += 1
            self._hold_ticks += held
            if not held and tick.targets is not None:
                self._measure(tick.targets)
        else:
            self._has_sent = False
        judged = goes_on or self.running
        self.running, self._last_ns = goes_on, tick.now_ns
        self._trip = tick.trip
        return self._broken() if judged else None

    def _note_faults(self, trip: Trip | None) -> None:
        if trip is None or trip is self._trip or not trip.latched:
            return
        if trip.rule in (Rule.ESTOP, Rule.TRIAL):
            return
        self._latched += 1
        self._falls += trip.rule is Rule.ATTITUDE
        self._fault = f"{trip.rule.value}: {trip.reason}"

    def _measure(self, sent: JointTargets) -> None:
        """Compare the previous tick's command with the measurements since."""
        if self._has_sent:
            position, velocity, effort, stiffness, damping, _ = self._sent
            error = position - self._joint_pos
            squares = np.where(self._posed, error * error, 0.0)
            self._tracking += self._weight * (squares - self._tracking)
            if self._joint_vel is not None:
                torque = stiffness * error + damping * (velocity - self._joint_vel) + effort
                share = np.minimum(np.abs(torque) / self._effort_limit, 1.0)
                self._torque += self._weight * (share * share - self._torque)
        self._sent[:], self._has_sent = sent.block, True

    def _broken(self) -> GateResult | None:
        measured, run_time_s = self._figures(), self.run_time_s
        broken: GateResult | None = None
        for name, gate in self._gates.items():
            value, detail = measured.get(name, (self.figures[name], ""))
            self.figures[name] = value
            # Not `>`: NaN must also exceed a gate.
            if broken is None and not value <= gate.limit and run_time_s >= gate.after_s:
                # The record can contain finite numbers only.
                value = value if math.isfinite(value) else sys.float_info.max
                broken = GateResult(figure=name, value=value, limit=gate.limit, detail=detail)
        return broken

    def _figures(self) -> dict[str, tuple[float, str]]:
        ticks = max(1, self._ticks)
        found = {
            "falls": (float(self._falls), self._fault),
            "latched_faults": (float(self._latched), self._fault),
            "hold_share": (self._hold_ticks / ticks, ""),
            "missed_ticks_share": (self._missed / (ticks + self._missed), ""),
            "tracking_error_rad": self._worst(self._tracking),
            "torque_share": self._worst(self._torque),
        }
        if self._gravity is not None:
            found["tilt_rad"] = tilt_rad(self._gravity), ""
        if math.isfinite(self.temperature_c):
            found["temperature_c"] = self.temperature_c, ""
        if "latency_share" in self._gates and self._ticks % _LATENCY_EVERY_TICKS == 0:
            durations_s = np.sort(self._latency.since(self._latency_from))
            if durations_s.size:
                p99_s = durations_s[math.ceil((durations_s.size - 1) * 0.99)]
                found["latency_share"] = float(p99_s) / self._period_s, ""
        return found

    def _worst(self, squares: F64) -> tuple[float, str]:
        worst = int(squares.argmax())
        return math.sqrt(squares[worst]), self._names[worst]
