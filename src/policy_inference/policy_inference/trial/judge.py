# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Judges each tick of a version on trial by the gates of its `trial.yaml`; no ROS, no files."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from policy_core.bundle.bundle import HostedContract
from policy_core.bundle.chunk_contract import ChunkContract
from policy_core.bundle.set_contract import SetContract
from policy_core.control.tick import Tick
from policy_core.guard.bounds import FIRST_AWAITED, Rule, Trip
from policy_core.interfaces import JointTargets, Kind, Mode
from policy_core.latency import LatencyWindow
from policy_core.observation.rotation import tilt_rad
from policy_inference.trial.settings import TrialSettings

_MEAN_OVER_S = 5.0
"""Of tracking error and torque: time constant of an exponential mean of squares."""
_LATENCY_EVERY_TICKS = 50
"""The percentile of a window takes longer than all other figures together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenGate:
    """The gate that ended a trial.

    Attributes:
        gate: Its figure.
        value: Of the figure, in the unit of its name.
        limit: The largest that was allowed.
        detail: More about it, in words; may be empty.
    """

    gate: str
    value: float
    limit: float
    detail: str

    def __str__(self) -> str:
        """Return e.g. ``tilt_rad 0.61, limit 0.5``."""
        detail = f" ({self.detail})" if self.detail else ""
        return f"{self.gate} {self.value:.3g}, limit {self.limit:g}{detail}"


class TrialJudge:
    """Counts RUN time and figures of the running policy; all methods belong to the control thread.

    Attributes:
        figures: Newest value of each gate that is judged, in the unit of its name.
        running: Whether the policy runs, or is held in the middle of a run.
        temperature_c: To be set from outside; not finite: not known.
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
        """Go on from what earlier runs of the trial have counted.

        Args:
            settings: Of the trial.
            contract: Of the policy.
            tick: Of the policy's controller.
            latency: Durations of its ticks.
            counts: As `VersionTrial.counts`.
            simulated_time: Whether ticks go by simulated time: durations and missed ticks are then
                those of the simulation's machine, and are not judged.
        """
        self._gates = settings.judged
        if simulated_time:
            for name in ("latency_share", "missed_ticks_share"):
                self._gates.pop(name, None)
        self._settings, self._latency = settings, latency
        self._period_s = 1.0 / contract.rate_hz
        self._latency_from = latency.count
        state, joints = tick.state, contract.joints
        self._joint_pos, self._joint_vel = state["joint_pos"], state.get("joint_vel")
        self._gravity = state.get("gravity_body") if "tilt_rad" in self._gates else None
        self._effort_limit = joints.effort_limit
        self._posed = _posed(contract)
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
        """RUN time of the whole trial, s: of the clock of ticks, never of the wall."""
        return self._run_ns * 1e-9

    @property
    def time_is_up(self) -> bool:
        """Whether the trial has had all of its RUN time."""
        return self.run_time_s >= self._settings.run_time_s

    @property
    def counts(self) -> dict[str, float]:
        """Totals of the trial, as `VersionTrial.counts`."""
        return {
            "run_time_s": round(self.run_time_s, 3),
            "ticks": self._ticks,
            "hold_ticks": self._hold_ticks,
            "missed_ticks": self._missed,
            "falls": self._falls,
            "latched_faults": self._latched,
        }

    def observe(self, tick: Tick) -> BrokenGate | None:
        """Take a tick that has ended; return the first gate that is exceeded."""
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
        """Compare what the tick before commanded with what was measured since."""
        if self._has_sent:
            position, velocity, effort, stiffness, damping, _ = self._sent
            error = position - self._joint_pos
            self._tracking += self._weight * (error * error - self._tracking)
            if self._joint_vel is not None:
                torque = stiffness * error + damping * (velocity - self._joint_vel) + effort
                share = np.minimum(np.abs(torque) / self._effort_limit, 1.0)
                self._torque += self._weight * (share * share - self._torque)
        self._sent[:], self._has_sent = sent.block, True

    def _broken(self) -> BrokenGate | None:
        figures, run_time_s = self.figures, self.run_time_s
        self._update(figures)
        for name, gate in self._gates.items():
            value = figures[name]
            # Not `>`: what is no number any more must not keep a gate from breaking.
            if not value <= gate.limit and run_time_s >= gate.after_s:
                if not math.isfinite(value):  # which the record cannot have
                    value = sys.float_info.max
                return BrokenGate(
                    gate=name, value=value, limit=gate.limit, detail=self._detail(name)
                )
        return None

    def _update(self, figures: dict[str, float]) -> None:
        ticks = max(1, self._ticks)
        found = {
            "falls": float(self._falls),
            "latched_faults": float(self._latched),
            "hold_share": self._hold_ticks / ticks,
            "missed_ticks_share": self._missed / (ticks + self._missed),
            "tracking_error_rad": math.sqrt(self._tracking[self._posed].max(initial=0.0)),
            "torque_share": math.sqrt(self._torque.max(initial=0.0)),
        }
        if self._gravity is not None:
            found["tilt_rad"] = tilt_rad(self._gravity)
        if math.isfinite(self.temperature_c):
            found["temperature_c"] = self.temperature_c
        if "latency_share" in figures and self._ticks % _LATENCY_EVERY_TICKS == 0:
            durations_s = np.sort(self._latency.since(self._latency_from))
            if durations_s.size:
                p99_s = durations_s[math.ceil((durations_s.size - 1) * 0.99)]
                found["latency_share"] = float(p99_s) / self._period_s
        figures.update((name, value) for name, value in found.items() if name in figures)

    def _detail(self, gate: str) -> str:
        if gate in ("falls", "latched_faults"):
            return self._fault
        if gate == "tracking_error_rad":
            return self._names[int(np.where(self._posed, self._tracking, -1.0).argmax())]
        return self._names[int(self._torque.argmax())] if gate == "torque_share" else ""


def _posed(contract: HostedContract) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which joints [joints] are commanded to positions."""
    names = contract.joints.names
    if isinstance(contract, SetContract):
        return np.array([kind is Kind.POSITION for kind in contract.kinds])
    if isinstance(contract, ChunkContract):
        return np.array([name in contract.action.joints for name in names])
    posed = {
        name for term in contract.action.terms if term.kind == "position" for name in term.joints
    }
    return np.array([name in posed for name in names])
