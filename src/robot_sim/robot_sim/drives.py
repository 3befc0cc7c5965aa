# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The robot's joint drives: a PD law per joint, with torque limits, command expiry and latency."""

from collections import deque
from dataclasses import dataclass

import mujoco
import numpy as np
import numpy.typing as npt

from robot_sim.errors import SimError
from robot_sim.figures import LITE3, Array

DAMPING_ON_EXPIRY = 5.0
_FIELDS = ("position", "velocity", "effort", "stiffness", "damping", "effort_limit")
# MuJoCo rejects controls beyond 1e10; every drive is at its torque limit far below that.
_LARGEST = 1e6
_NEVER_NS = 1 << 62
_NOT_NEGATIVE = ("stiffness", "damping", "effort_limit")


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveCommand:
    """Command that the drives follow until the next one arrives or this one expires.

    torque = clip(stiffness * (position - q) + damping * (velocity - dq) + effort, +-effort_limit),
    evaluated continuously in the drive. All arrays are float64 [n] in the order of `joint_names`.

    Attributes:
        joint_names: The joints, in any order; each joint of the robot exactly once.
        position: Target positions, rad.
        velocity: Target velocities, rad/s.
        effort: Feed-forward torques, N m.
        stiffness: Position gains, N m/rad, not negative.
        damping: Velocity gains, N m s/rad, not negative.
        effort_limit: Torque limits, N m, not negative; the joint's rated torque also applies.
        valid_for_ns: Time from arrival at the drives until the command expires.
    """

    joint_names: tuple[str, ...]
    position: Array
    velocity: Array
    effort: Array
    stiffness: Array
    damping: Array
    effort_limit: Array
    valid_for_ns: int


def position_command(
    position: npt.ArrayLike,
    *,
    stiffness: npt.ArrayLike,
    damping: npt.ArrayLike,
    joint_names: tuple[str, ...] = LITE3.joint_names,
    valid_for_ns: int = 200_000_000,
) -> DriveCommand:
    """Return a command to hold `position` [n], rad; gains are for all joints, or per joint [n].

    The torques are limited only by the joints' rated torques. The joint names default to the
    Lite3's.
    """
    target = np.array(position, dtype=np.float64)
    zeros = np.zeros_like(target)
    return DriveCommand(
        joint_names=joint_names,
        position=target,
        velocity=zeros,
        effort=zeros,
        stiffness=zeros + np.asarray(stiffness),
        damping=zeros + np.asarray(damping),
        effort_limit=zeros + _LARGEST,
        valid_for_ns=valid_for_ns,
    )


def write_pd_law(
    model: mujoco.MjModel, *, bias: Array, stiffness: Array, damping: Array, effort_limit_nm: Array
) -> None:
    """Write a PD law into the model's affine actuators; arrays [n] in the model's order.

    torque = clip(stiffness * (ctrl - q) - damping * dq + bias, +-effort_limit_nm)
    """
    model.actuator_gainprm[:, 0] = stiffness
    model.actuator_biasprm[:, :3] = np.stack([bias, -stiffness, -damping], axis=1)
    model.actuator_forcerange[:] = np.stack([-effort_limit_nm, effort_limit_nm], axis=1)


class Drives:
    """The n drives of one simulated robot; they damp while there is no valid command.

    After `hold`, they instead hold the positions passed to it until the first command.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        """Use the actuators of `model`; they damp until a command arrives.

        Args:
            model: A robot whose affine actuators are named after their joints, and whose force
                ranges are the joints' rated torques.
        """
        self.latency_ns = 0
        self.joint_names = tuple(model.actuator(index).name for index in range(model.nu))
        self._rated_nm: Array = model.actuator_forcerange[:, 1].copy()
        self._model = model
        self._ctrl: Array = np.zeros(model.nu)
        self._motor_on = np.ones(model.nu, dtype=bool)
        self.stiffness_scale = self.damping_scale = 1.0
        self._on_the_way: deque[tuple[int, DriveCommand, npt.NDArray[np.intp]]] = deque()
        self._expires_ns: int | None = None
        self.damp()

    @property
    def damped(self) -> bool:
        return self._expires_ns is None

    def send(self, command: DriveCommand, now_ns: int) -> None:
        """Check a command; it reaches the drives after `latency_ns`."""
        order = _order(command.joint_names, self.joint_names)
        for name in _FIELDS:
            _check_field(name, getattr(command, name), len(self.joint_names))
        if command.valid_for_ns <= 0:
            raise SimError(
                f"command.valid_for_ns: expected a positive time, found {command.valid_for_ns}"
            )
        self._on_the_way.append((now_ns + self.latency_ns, command, order))

    def update(self, now_ns: int) -> Array:
        """Deliver commands that are due and expire old ones.

        Returns:
            Actuator controls (rad, [n]) for the physics step that begins at `now_ns`.
        """
        while self._on_the_way and self._on_the_way[0][0] <= now_ns:
            arrival_ns, command, order = self._on_the_way.popleft()
            self._load(command, order)
            self._expires_ns = arrival_ns + command.valid_for_ns
        if self._expires_ns is not None and now_ns >= self._expires_ns:
            self.damp()
        return self._ctrl

    def damp(self) -> None:
        """Brake every joint with `DAMPING_ON_EXPIRY` until another command arrives."""
        zeros = np.zeros(len(self.joint_names))
        self._set(zeros, zeros, zeros, zeros + DAMPING_ON_EXPIRY, self._rated_nm)
        self._expires_ns = None

    def hold(self, position: Array, *, stiffness: float, damping: float) -> None:
        """Hold these positions until a command arrives, as servos do after power-on.

        Args:
            position: Target positions [n], rad.
            stiffness: Position gain of each joint, N m/rad.
            damping: Velocity gain of each joint, N m s/rad.
        """
        zeros = np.zeros(len(self.joint_names))
        self._set(position.copy(), zeros, zeros + stiffness, zeros + damping, self._rated_nm)
        self._expires_ns = _NEVER_NS

    def forget(self) -> None:
        """Drop undelivered commands and damp, as after a power cycle; disabled motors stay off."""
        self._on_the_way.clear()
        self.damp()

    def set_motor(self, joint_name: str, *, on: bool) -> None:
        """Switch one motor on or off; a motor that is off neither drives nor brakes."""
        if joint_name not in self.joint_names:
            known = ", ".join(self.joint_names)
            raise SimError(f"motor: unknown joint '{joint_name}'; known: {known}")
        self._motor_on[self.joint_names.index(joint_name)] = on
        self._model.actuator_gear[:, 0] = self._motor_on

    def _load(self, command: DriveCommand, order: npt.NDArray[np.intp]) -> None:
        """Apply a command that has arrived."""
        ordered = {
            name: np.clip(getattr(command, name), -_LARGEST, _LARGEST)[order] for name in _FIELDS
        }
        damping = self.damping_scale * ordered["damping"]
        self._set(
            ordered["position"],
            ordered["effort"] + damping * ordered["velocity"],
            self.stiffness_scale * ordered["stiffness"],
            damping,
            np.minimum(ordered["effort_limit"], self._rated_nm),
        )

    def _set(self, ctrl: Array, bias: Array, kp: Array, kd: Array, limit_nm: Array) -> None:
        self._ctrl = ctrl
        write_pd_law(self._model, bias=bias, stiffness=kp, damping=kd, effort_limit_nm=limit_nm)


def _order(given: tuple[str, ...], expected: tuple[str, ...]) -> npt.NDArray[np.intp]:
    """Return the index of each of the robot's joints (`expected`) in the given names."""
    if given == expected:
        return np.arange(len(expected))
    if sorted(given) != sorted(expected):
        missing, unknown = set(expected) - set(given), set(given) - set(expected)
        raise SimError(
            f"command.joint_names: expected each of the robot's {len(expected)} joints once, found "
            f"{len(given)} names (missing: {', '.join(sorted(missing)) or 'none'}; unknown: "
            f"{', '.join(sorted(unknown)) or 'none'})"
        )
    return np.array([given.index(name) for name in expected])


def _check_field(name: str, values: Array, count: int) -> None:
    """Raise SimError unless `values` is [count], finite and, where required, not negative."""
    expected = (count,)
    if np.shape(values) != expected:
        raise SimError(f"command.{name}: expected shape {expected}, found {np.shape(values)}")
    if not np.isfinite(values).all():
        raise SimError(f"command.{name}: expected finite values, found {np.asarray(values)}")
    if name in _NOT_NEGATIVE and np.min(values) < 0.0:
        raise SimError(f"command.{name}: expected no negative value, found {np.min(values)}")
