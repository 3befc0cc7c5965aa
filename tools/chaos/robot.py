# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The robot: its motion host, and a body that is either quick to compute or MuJoCo's."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

from lite3_driver.figures import FOLDED_HIGHEST_RAD, FOLDED_LOWEST_RAD
from robot_sim.drives import DriveCommand
from robot_sim.errors import SimError
from robot_sim.figures import LITE3
from robot_sim.lite3_host import FOLDED_RAD, Lite3Fault, Lite3FaultPlan, MotionHost
from robot_sim.world import Sensors, World
from tools.chaos.timeline import NS_PER_S, VirtualTimeline

DRIVER = ("10.0.0.2", 43897)
_FRICTION, _PULL, _MOST_PULL = 0.5, 4.0, 3.0
"""Friction of a joint, N m s/rad; pull of gravity toward the folded pose, N m/rad, and limit of
that pull, N m.
"""
_LIMP_DAMPING = 5.0
_NOISE_RAD = 2e-4
_HELPED_NS = 3 * NS_PER_S
_PUSH_N, _PUSH_S = 100.0, 0.1
"""Force of a push per radian of roll, and its duration."""


class QuickBody:
    """Massless joints that follow their drives; replaces a World.

    The body does not fall: joints that are not held sink into the folded pose. It has only those
    parts of a World that the motion host of a Lite3 uses.
    """

    def __init__(self, rate_hz: int, seed: int) -> None:
        self.steps_per_s, self.steps, self.latency_ns = rate_hz, 0, 0
        self.joint_names, self.effort_limit_nm = LITE3.joint_names, LITE3.effort_limit_nm
        self._stops_rad = LITE3.range_rad.T
        self._position, self._velocity = FOLDED_RAD.copy(), np.zeros(12)
        self._command: DriveCommand | None = None
        self._noise = np.random.default_rng(seed).normal(0.0, 1.0, (64, 18))
        self.roll_rad = 0.0
        self.is_powered = True

    @property
    def time_ns(self) -> int:
        return self.steps * NS_PER_S // self.steps_per_s

    def apply(self, command: DriveCommand) -> None:
        if not (
            np.isfinite([command.position, command.velocity, command.effort]).all()
            and min(command.stiffness.min(), command.damping.min()) >= 0.0
        ):
            raise SimError("unfit")
        self._command = command

    def expire(self) -> None:
        self._command = None

    def advance(self, steps: int) -> None:
        period_s = steps / self.steps_per_s
        self.steps += steps
        before, command = self._position, self._command if self.is_powered else None
        pull = np.clip(_PULL * (FOLDED_RAD - before), -_MOST_PULL, _MOST_PULL)
        if command is None:
            self._position = before + period_s * pull / (_LIMP_DAMPING + _FRICTION)
        else:
            drag = command.damping + _FRICTION
            push = command.damping * command.velocity + command.effort + pull
            gain = period_s * command.stiffness / drag
            self._position = (before + period_s * push / drag + gain * command.position) / (
                1.0 + gain
            )
        self._position = np.clip(self._position, *self._stops_rad)
        self._velocity = (self._position - before) / period_s

    def sense(self) -> Sensors:
        command, noise = self._command, self._noise[self.steps % len(self._noise)]
        if not self.is_powered:
            effort = np.zeros(12)
        elif command is None:
            effort = -_LIMP_DAMPING * self._velocity
        else:
            effort = (
                command.stiffness * (command.position - self._position)
                + command.damping * (command.velocity - self._velocity)
                + command.effort
            )
        sine, cosine = np.sin(self.roll_rad), np.cos(self.roll_rad)
        return Sensors(
            time_ns=self.time_ns,
            joint_names=self.joint_names,
            joint_pos=self._position + _NOISE_RAD * noise[:12],
            joint_vel=self._velocity,
            joint_effort=effort,
            quat_xyzw=np.array([np.sin(self.roll_rad / 2), 0.0, 0.0, np.cos(self.roll_rad / 2)]),
            ang_vel_body=1e-3 * noise[12:15],
            lin_acc_body=np.array([0.0, 9.81 * sine, 9.81 * cosine]) + 1e-2 * noise[15:],
            lin_vel_body=np.zeros(3),
            pos_world=np.zeros(3),
            foot_force_world=np.zeros((4, 3)),
        )


class VirtualRobot:
    """A motion host on the timeline, with its own clock.

    Attributes:
        host: The host from robot_sim.
    """

    def __init__(
        self,
        timeline: VirtualTimeline,
        send: Callable[[bytes], object],
        *,
        rate_hz: int,
        physics: bool,
        seed: int,
    ) -> None:
        """Switch the host on."""
        world: Any = World() if physics else QuickBody(rate_hz, seed)
        self._seed, self._faults = seed, list[Lite3Fault]()
        self.host = MotionHost(world)
        self._fallen_since_ns: int | None = None
        chance = Random(f"robot {seed}")
        drift_ppm = chance.randrange(-300, 300)
        self._send = send
        self._each = world.steps_per_s // rate_hz
        period_ns = NS_PER_S // rate_hz
        timeline.every(period_ns + period_ns * drift_ppm // 1_000_000, self._live)

    def begin(self, fault: str) -> None:
        """Start a fault, written as in `robot_sim`; it lasts until `end` is called."""
        self._faults.append(Lite3Fault.parse(fault))
        self._adopt()

    def end(self, fault: str) -> None:
        self._faults.remove(Lite3Fault.parse(fault))
        self._adopt()

    def _adopt(self) -> None:
        self.host.adopt(Lite3FaultPlan(self._faults, seed=self._seed))

    def receive(self, data: bytes) -> None:
        host = self.host
        for arrived in host.plan.command.carry([(data, DRIVER)], host.world.time_ns):
            host.receive(*arrived)

    def _live(self) -> None:
        host, frame = self.host, None
        for _ in range(self._each):
            host.act()
            frame = host.step()
        now_ns = host.world.time_ns
        self._help_up(now_ns)
        if frame is None:
            return
        spoilt = host.plan.spoil(frame, now_ns)
        frames = [spoilt, host.plan.forged(frame, now_ns)]
        for data in host.plan.state.carry([each for each in frames if each is not None], now_ns):
            self._send(data)

    def _help_up(self, now_ns: int) -> None:
        """Set upright, as a person would, a robot that lies tipped over or with its legs spread."""
        world: Any = self.host.world
        if isinstance(world, QuickBody) or (world.upright and not self._lies_spread()):
            self._fallen_since_ns = None
        elif self._fallen_since_ns is None:
            self._fallen_since_ns = now_ns
        elif now_ns - self._fallen_since_ns > _HELPED_NS:
            world.set_upright()

    def _lies_spread(self) -> bool:
        if self.host.controller is not None:
            return False
        position = self.host.world.sense().joint_pos
        return bool(((position < FOLDED_LOWEST_RAD) | (position > FOLDED_HIGHEST_RAD)).any())

    def tip(self, roll_rad: float) -> None:
        """Roll the robot; in MuJoCo, push it to the left, more for a larger roll."""
        world: Any = self.host.world
        if isinstance(world, QuickBody):
            world.roll_rad = roll_rad
        elif roll_rad:
            world.push([0.0, _PUSH_N * roll_rad, 0.0], _PUSH_S)

    def set_power(self, *, on: bool) -> None:
        """Switch the power of all motors, but not that of the motion host."""
        world: Any = self.host.world
        if isinstance(world, QuickBody):
            world.is_powered = on
        elif on:
            world.motors_on()
        else:
            for name in world.joint_names:
                world.motor_off(name)
