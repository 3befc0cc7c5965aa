# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Base class for simulated robots: time, stepping, and drives with command expiry and latency."""

import time
from collections.abc import Callable
from typing import Protocol

import mujoco
import numpy as np

from robot_sim.drives import DriveCommand, Drives
from robot_sim.errors import SimError
from robot_sim.figures import Array

NS_PER_S = 1_000_000_000
MAX_LATENCY_NS = 40_000_000
_BEHIND_NS, _WARN_EVERY_NS = 100_000_000, 5 * NS_PER_S


class JointSensors(Protocol):
    """Readings of a robot's joints, float64 [n] each."""

    @property
    def joint_pos(self) -> Array:
        """Positions, rad."""

    @property
    def joint_vel(self) -> Array:
        """Velocities, rad/s."""

    @property
    def joint_effort(self) -> Array:
        """Torques of the drives, N m."""


class DrivenWorld:
    """A robot with drives in its own world. The same calls always give the same results.

    The drives damp when the latest command has expired and, unless a subclass differs, until the
    first one arrives.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        """Wrap a model, which must have a whole number of steps per second and satisfy `Drives`."""
        self.model = model
        self.steps_per_s: int = round(1.0 / model.opt.timestep)
        self._data = mujoco.MjData(model)
        self._drives = Drives(model)
        self._steps = 0

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Driven joints, in the order of all joint arrays."""
        return self._drives.joint_names

    @property
    def pose(self) -> Array:
        """Copy of the model's `qpos` [nq].

        A free body contributes its position, then its orientation as a quaternion (w, x, y, z).
        """
        return np.array(self._data.qpos)

    @property
    def steps(self) -> int:
        """Physics steps since the last reset."""
        return self._steps

    @property
    def time_ns(self) -> int:
        """Simulated time since the last reset, to the nearest ns."""
        return round(self._steps * NS_PER_S / self.steps_per_s)

    @property
    def latency_ns(self) -> int:
        """Time from sending a command to its arrival at the drives, 0 to 40 ms."""
        return self._drives.latency_ns

    @latency_ns.setter
    def latency_ns(self, value: int) -> None:
        if not 0 <= value <= MAX_LATENCY_NS:
            raise SimError(f"latency_ns: expected 0 to {MAX_LATENCY_NS}, found {value}")
        self._drives.latency_ns = value

    def scale_gains(self, *, stiffness: float, damping: float) -> None:
        """Multiply the gains of all commands by these factors."""
        if min(stiffness, damping) < 0.0:
            raise SimError(f"gains: expected factors >= 0, found {stiffness:g} and {damping:g}")
        self._drives.stiffness_scale, self._drives.damping_scale = stiffness, damping

    @property
    def damped(self) -> bool:
        """True if the drives damp because there is no valid command."""
        return self._drives.damped

    def apply(self, command: DriveCommand) -> None:
        """Send a command to the drives; on arrival it replaces the previous one."""
        self._drives.send(command, self.time_ns)

    def expire(self) -> None:
        """Make the drives damp now and drop commands that have not arrived yet.

        This is for callers that time the expiry on their own clock.
        """
        self._drives.forget()

    def whole_steps(self, duration_ns: int, name: str = "duration_ns") -> int:
        """Convert a duration to a number of physics steps; `name` is used in error messages."""
        count = round(duration_ns * self.steps_per_s / NS_PER_S)
        if count < 1 or abs(count * NS_PER_S - duration_ns * self.steps_per_s) > self.steps_per_s:
            raise SimError(
                f"{name}: expected a period > 0 that is a multiple of "
                f"{1e3 / self.steps_per_s:.4g} ms, found {duration_ns / 1e6:.6g} ms"
            )
        return count

    def step(self, duration_ns: int) -> None:
        """Advance the simulation.

        Args:
            duration_ns: A positive multiple of the physics step.
        """
        self.advance(self.whole_steps(duration_ns))

    def advance(self, steps: int) -> None:
        for _ in range(steps):
            self._data.ctrl[:] = self._drives.update(self.time_ns)
            self._before_step()
            mujoco.mj_step(self.model, self._data)
            self._steps += 1
            self._after_step()
        # Force and acceleration sensors still have the values from the start of the step: update
        # them.
        mujoco.mj_forward(self.model, self._data)

    def _start_again(self) -> None:
        """Reset to time 0 and the model's own pose; drop all commands."""
        mujoco.mj_resetData(self.model, self._data)
        self._steps = 0
        self._drives.forget()

    def _before_step(self) -> None:
        """Hook before each physics step."""

    def _after_step(self) -> None:
        """Hook after each physics step."""


class RealTimePacer:
    """Keeps a simulation in real time; if the machine is too slow, shifts the clock and warns."""

    def __init__(self, warn: Callable[[str], object]) -> None:
        """Start at simulated time 0; `warn` logs a message, at most every 5 s."""
        self._warn, self._warned_ns = warn, -_WARN_EVERY_NS
        self._offset_ns, self._wall_offset_ns = time.monotonic_ns(), time.time_ns()

    def stamp_ns(self, time_ns: int) -> int:
        """Convert a simulated time to ns since 1970."""
        return self._wall_offset_ns + time_ns

    def wait(self, time_ns: int) -> None:
        now_ns = time.monotonic_ns()
        ahead_ns = self._offset_ns + time_ns - now_ns
        if ahead_ns > 0:
            time.sleep(ahead_ns / NS_PER_S)
        elif ahead_ns < -_BEHIND_NS:
            self._offset_ns -= ahead_ns
            self._wall_offset_ns -= ahead_ns
            if now_ns - self._warned_ns >= _WARN_EVERY_NS:
                self._warned_ns = now_ns
                self._warn(f"{-ahead_ns / 1e6:.0f} ms behind real time")
