# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Identifies drive delays, gains and friction, and an IMU's mounting, from a recording.

A drive follows the law in policy_msgs/JointCommand, with the command from `delay` ago:

    torque = stiffness * (position - q) + damping * (velocity - dq) + effort
             - friction * sign(dq) + offset

For a given delay everything else is linear, and is found by least squares; the delay with the
smallest residual is the drive's. 95 % intervals come from resampled blocks of one second. They are
widened by effects that the blocks do not show: between two samples of a joint any delay explains
the data equally well, so the delay is uncertain by one sample; and few, similar blocks
underestimate their own spread.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from model_tools.errors import ToolError
from model_tools.files.bags.bag import Bag, is_bag
from model_tools.files.bags.topics import find_topics
from model_tools.prove.replaying.recording import COMMAND_ROWS
from policy_core.bundle.contract import JointContract
from policy_core.bundle.state_fields import IMU, JOINT_STATES
from policy_core.errors import RobotError
from policy_core.interfaces import F64, Index, Mode, Times
from policy_inference.messages.readers import JointOrder, stamp_ns
from policy_inference.messages.wire import JOINT_COMMAND
from policy_store.report import plain
from robot_sim.rotation import rotate_inverse

COMMANDS = "joint_command"
_TYPES = {JOINT_STATES.name: JOINT_STATES.types, COMMANDS: (JOINT_COMMAND,), IMU.name: IMU.types}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class InputTiming:
    """Times of an input's messages.

    Attributes:
        name: Name of the input.
        measured_ns: Their stamps [messages]; log times if they have none.
        logged_ns: Their log times [messages].
    """

    name: str
    measured_ns: Times
    logged_ns: Times


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordedMotion:
    """A recording in the joint order of the contract; times in s since the first message.

    Attributes:
        joints: The robot's joint names [joints].
        command_s: Measurement time of the state that a command answers [commands].
        running: True while the policy ran [commands].
        commands: Position, velocity, effort, stiffness, damping and effort limit [commands, 6,
            joints], see `JointTargets.block`.
        state_s: Measurement times of the joints [states].
        state: Position, velocity and effort [states, 3, joints].
        imu_s: Measurement times of the IMU [measurements].
        imu: Orientation x y z w, angular velocity, acceleration [measurements, 10].
        timings: Timing of every input.
    """

    joints: tuple[str, ...]
    command_s: F64
    running: np.ndarray[Any, np.dtype[np.bool_]]
    commands: F64
    state_s: F64
    state: F64
    imu_s: F64
    imu: F64
    timings: tuple[InputTiming, ...]


def read_motion(
    path: Path, contract: JointContract, topics: Mapping[str, str] | None = None
) -> RecordedMotion:
    """Read a recording.

    Args:
        path: A rosbag2 recording with joint_states, joint_command and, if it has one, imu/data.
        contract: Contract that states the joints.
        topics: Topics, by input, if they are renamed.
    """
    if not is_bag(path):
        raise ToolError(
            f"{path}: expected a rosbag2 recording, found another kind of file or folder"
        )
    bag = Bag(path)
    found = find_topics(bag, _TYPES, topics or {}, optional=(IMU.name,))
    names = contract.joints.on_robot()
    rows = _Rows(path, names)
    inputs = {topic: name for name, topic in found.items()}
    for log_ns, topic, message in bag.all_messages(list(inputs)):
        rows.add(inputs[topic], log_ns, message)
    return rows.motion()


class _Rows:
    """Collects the values of messages."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._path, self._names = path, tuple(names)
        self._order = {name: JointOrder(names) for name in (JOINT_STATES.name, COMMANDS)}
        self._times: dict[str, list[tuple[int, int]]] = {name: [] for name in _TYPES}
        self._values: dict[str, list[F64]] = {name: [] for name in _TYPES}
        self._running = list[bool]()

    def add(self, name: str, log_ns: int, message: Any) -> None:
        read = {JOINT_STATES.name: self._joints, COMMANDS: self._command, IMU.name: _imu}[name]
        try:
            values = read(message)
        except RobotError as error:
            raise ToolError(f"{self._path}: {name} at {log_ns * 1e-9:.3f} s: {error}") from error
        stamp = getattr(message, "stamp", None)
        own_ns = stamp_ns(message) if stamp is None else stamp.sec * 1_000_000_000 + stamp.nanosec
        self._times[name].append((own_ns or log_ns, log_ns))
        self._values[name].append(values)

    def motion(self) -> RecordedMotion:
        times = {
            name: np.array(each, np.int64).reshape(-1, 2) for name, each in self._times.items()
        }
        first_ns = min(int(each[:, 0].min()) for each in times.values() if len(each))
        order = {name: np.argsort(each[:, 0], kind="stable") for name, each in times.items()}

        def seconds(name: str) -> F64:
            found: F64 = (times[name][order[name], 0] - first_ns) * 1e-9
            return found

        def values(name: str, *shape: int) -> F64:
            each = self._values[name]
            return np.array(each)[order[name]] if each else np.zeros((0, *shape))

        joints = len(self._names)
        return RecordedMotion(
            joints=self._names,
            command_s=seconds(COMMANDS),
            running=np.array(self._running, bool)[order[COMMANDS]],
            commands=values(COMMANDS, 6, joints),
            state_s=seconds(JOINT_STATES.name),
            state=values(JOINT_STATES.name, 3, joints),
            imu_s=seconds(IMU.name),
            imu=values(IMU.name, 10),
            timings=tuple(
                InputTiming(name=name, measured_ns=each[:, 0], logged_ns=each[:, 1])
                for name, each in times.items()
                if len(each)
            ),
        )

    def _joints(self, message: Any) -> F64:
        if not len(message.effort):
            raise RobotError(
                "expected torques (effort) of the joints, which show the arrival of a command, "
                "found none"
            )
        return self._taken(JOINT_STATES.name, message.name, message, COMMAND_ROWS[:3])

    def _command(self, message: Any) -> F64:
        self._running.append(message.mode == Mode.RUN)
        return self._taken(COMMANDS, message.names, message, COMMAND_ROWS)

    def _taken(self, name: str, names: list[str], message: Any, fields: Sequence[str]) -> F64:
        found: F64 = np.empty((len(fields), len(self._names)))
        for row, field in zip(found, fields, strict=True):
            self._order[name].take(names, np.asarray(getattr(message, field), float), row)
        return found


def _imu(message: Any) -> F64:
    turned, rate, acceleration = (
        message.orientation,
        message.angular_velocity,
        message.linear_acceleration,
    )
    return np.array(
        [
            *(getattr(turned, axis) for axis in "xyzw"),
            *(getattr(rate, axis) for axis in "xyz"),
            *(getattr(acceleration, axis) for axis in "xyz"),
        ]
    )


_LONGEST_S, _COARSE_S, _FINE_S = 0.080, 0.002, 0.00025
_BLOCK_S, _RESAMPLES, _SEED = 1.0, 400, 0
_FEWEST_BLOCKS = 5
_SATURATED = 0.98
"""Share of the torque limit above which a torque is clipped, and reveals nothing about the
gains."""
_SLOW_RADPS = 0.1
"""Below it the direction of friction is uncertain, so it has less weight."""
_LEFT_OUT, _LEFT_OUT_NM = 0.005, 0.002
"""Uncertainty of a gain, and of friction, that no resampling shows, however long the recording:
position noise, which makes gains look softer, and effects that the law omits."""
_DIGITS = 5
"""Significant digits of figures in files."""
_MOST_LATENCY_MS, _NARROWEST = 40.0, 1e-3
"""Limits of `evaluate`."""
_GRAVITY = 9.81
_TAIL = (2.5, 97.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentifiedDrive:
    """Identified parameters of a joint's drive.

    Attributes:
        joint: Name of the joint.
        delay_s: Time from the measurement that a command answers to the resulting torque.
        stiffness: Effective position gain, N m/rad; `commanded_stiffness` is the commanded one.
        damping: Effective velocity gain, N m s/rad; `commanded_damping` is the commanded one.
        friction_nm: Torque opposing the motion that neither gain explains.
        residual_nm: Unexplained torque, root mean square.
    """

    joint: str
    delay_s: Estimate
    stiffness: Estimate
    commanded_stiffness: float
    damping: Estimate
    commanded_damping: float
    friction_nm: Estimate
    residual_nm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRate:
    """Regularity of an input.

    Attributes:
        name: Name of the input.
        rate_hz: Messages per second.
        jitter_s: Standard deviation of the time between two messages.
        longest_s: Longest time between two messages.
        age_s: Median of log time minus stamp.
    """

    name: str
    rate_hz: float
    jitter_s: float
    longest_s: float
    age_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ImuMounting:
    """Rotations of the parts of an IMU, degrees about x, y and z.

    Attributes:
        gyroscope: From the frame of the angular velocity to that of the orientation.
        accelerometer: From the frame of the acceleration to that of the orientation, about x and y;
            rotation about the vertical is not observable.
        tilt: Tilt of the mean orientation, about x and y: mounting and posture.
    """

    gyroscope: tuple[Estimate, Estimate, Estimate]
    accelerometer: tuple[Estimate, Estimate]
    tilt: tuple[Estimate, Estimate]


@dataclass(frozen=True, slots=True, kw_only=True)
class Identified:
    """All results from a recording."""

    drives: tuple[IdentifiedDrive, ...]
    rates: tuple[InputRate, ...]
    imu: ImuMounting | None


def identify(motion: RecordedMotion) -> Identified:
    return Identified(
        drives=_drives(motion),
        rates=tuple(_rate(timing) for timing in motion.timings),
        imu=_mounting(motion) if len(motion.imu_s) > 2 * _FEWEST_BLOCKS else None,
    )


def figures_text(found: Identified) -> str:
    """Return all figures as JSON; unknown ones are null."""
    content = plain(dataclasses.asdict(found), _DIGITS)
    return f"{json.dumps(content, indent=1, allow_nan=False)}\n"


def factors_text(found: Identified, source: str) -> str:
    """Return the ranges over all joints as YAML, for `factors` of a plan."""
    drives = found.drives
    factors = {
        "latency_ms": _range([drive.delay_s for drive in drives], [1e-3] * len(drives)),
        "stiffness_scale": _range(
            [drive.stiffness for drive in drives], [drive.commanded_stiffness for drive in drives]
        ),
        "damping_scale": _range(
            [drive.damping for drive in drives], [drive.commanded_damping for drive in drives]
        ),
    }
    factors["latency_ms"]["max"] = min(factors["latency_ms"]["max"], _MOST_LATENCY_MS)
    text = yaml.safe_dump({"factors": factors}, sort_keys=False)
    return f"# Identified by model_tools from {source}.\n{text}"


def _range(found: Sequence[Estimate], units: Sequence[float]) -> dict[str, float]:
    """Return the range of values in their own units, without those whose unit is 0."""
    known = [(each, unit) for each, unit in zip(found, units, strict=True) if unit > 0.0]
    low = max(0.0, min((each.low / unit for each, unit in known), default=1.0))
    high = max((each.high / unit for each, unit in known), default=1.0)
    return {"min": round(low, 4), "max": round(max(high, low + _NARROWEST), 4)}


class _DriveRows:
    """Rows of the least squares: torques and regressors, for any delay."""

    def __init__(self, motion: RecordedMotion) -> None:
        self._motion = motion
        ran_s = motion.command_s[motion.running]
        if not len(ran_s):
            raise ToolError("joint_command: expected commands of a policy in RUN, found none")
        # One command is still in transit when the policy starts, and one when it ends.
        rows = (motion.state_s > ran_s[0] + _LONGEST_S) & (motion.state_s < ran_s[-1])
        self._rows = np.flatnonzero(rows)
        self.time_s = motion.state_s[self._rows]
        blocks = ((self.time_s - self.time_s[:1]) / _BLOCK_S).astype(np.int64)
        self._ends = np.flatnonzero(np.diff(blocks)) + 1
        if len(self._ends) + 1 < _FEWEST_BLOCKS:
            raise ToolError(
                f"joint_states: expected {_FEWEST_BLOCKS * _BLOCK_S:g} s or more in which the "
                f"policy runs, found {len(self._ends) + 1} s; 60 s of walking with different "
                "commands are best"
            )

    def moments(self, delay_s: float) -> F64:
        """Return the sums of products of each block [blocks, joints, 6, 6] for a delay.

        Columns: the commanded stiffness and damping terms, friction, offset, torque minus
        feedforward, and 1 for each valid row.
        """
        motion = self._motion
        newest = np.searchsorted(motion.command_s + delay_s, self.time_s, side="right") - 1
        newest = np.maximum(newest, 0)
        position, velocity, effort, stiffness, damping, limit = (
            motion.commands[newest, part] for part in range(6)
        )
        q, dq, torque = (motion.state[self._rows, part] for part in range(3))
        use = np.abs(torque) < _SATURATED * limit
        use &= motion.running[newest][:, np.newaxis]
        columns = np.stack(
            [
                stiffness * (position - q),
                damping * (velocity - dq),
                -np.tanh(dq / _SLOW_RADPS),
                np.ones_like(q),
                torque - effort,
            ],
            axis=-1,
        )
        columns *= use[..., np.newaxis]
        parts = np.split(columns, self._ends)
        return np.stack([np.einsum("njf,njg->jfg", part, part, optimize=True) for part in parts])


def _drives(motion: RecordedMotion) -> tuple[IdentifiedDrive, ...]:
    rows = _DriveRows(motion)
    coarse = np.arange(0.0, _LONGEST_S, _COARSE_S)
    residuals = np.stack([_solved(rows.moments(delay).sum(axis=0))[1] for delay in coarse])
    best = coarse[np.argmin(residuals, axis=0)]
    fine = np.arange(max(0.0, best.min() - 2.0 * _COARSE_S), best.max() + 2.0 * _COARSE_S, _FINE_S)
    moments = np.stack([rows.moments(delay) for delay in fine], axis=1)
    commanded = np.median(motion.commands[motion.running, 3:5], axis=0)
    sample_s = float(np.median(np.diff(rows.time_s)))
    return tuple(
        _drive(name, fine, moments[:, :, joint], commanded[:, joint], sample_s)
        for joint, name in enumerate(motion.joints)
    )


def _drive(
    joint: str, delays_s: F64, moments: F64, commanded: F64, sample_s: float
) -> IdentifiedDrive:
    """Estimate one drive from its moments [blocks, delays, 5, 5]."""
    total = moments.sum(axis=0)
    values, residuals = _solved(total)
    place = _middle_of_best(residuals)
    count = total[int(place), 3, 3]
    if not np.isfinite(values[int(place)]).all() or count == 0:
        raise ToolError(
            f"{joint}: expected a joint that moves below its torque limit, found one that does not"
        )
    random = np.random.default_rng(_SEED)
    draws = random.integers(0, len(moments), (_RESAMPLES, len(moments)))
    delays, gains = list[float](), list[F64]()
    for draw in draws:
        found, left = _solved(moments[draw].sum(axis=0))
        at = _middle_of_best(left)
        delays.append(_at(delays_s, at))
        gains.append(found[int(at)])
    gains_of = np.array(gains)
    stiffness, damping = commanded

    def estimate(column: int, scale: float) -> Estimate:
        found = _estimate(scale * values[int(place), column], scale * gains_of[:, column])
        return _widened(found, len(moments), _LEFT_OUT * abs(scale * values[int(place), column]))

    return IdentifiedDrive(
        joint=joint,
        delay_s=_estimate(_at(delays_s, place), np.array(delays), step=sample_s + _FINE_S),
        stiffness=estimate(0, float(stiffness)),
        commanded_stiffness=float(stiffness),
        damping=estimate(1, float(damping)),
        commanded_damping=float(damping),
        friction_nm=_widened(
            _estimate(values[int(place), 2], gains_of[:, 2]), len(moments), _LEFT_OUT_NM
        ),
        residual_nm=float(np.sqrt(max(0.0, residuals[int(place)]) / count)),
    )


def _solved(moments: F64) -> tuple[F64, F64]:
    """Return solutions [..., 4] and sums of squared residuals [...] of moments [..., 5, 5]."""
    products, targets = moments[..., :4, :4], moments[..., :4, 4]
    # Regularised, so that a joint without motion has a (useless) solution.
    scale = np.trace(products, axis1=-2, axis2=-1)[..., np.newaxis, np.newaxis]
    regular = products + 1e-12 * np.maximum(scale, 1e-9) * np.eye(4)
    solution = np.linalg.solve(regular, targets[..., np.newaxis])[..., 0]
    residual = moments[..., 4, 4] - np.einsum("...f,...f->...", solution, targets)
    return solution, residual


def _middle_of_best(residuals: F64) -> float:
    """Return the mean of the indices with practically the smallest residual.

    Between two samples every delay explains the data equally well, so there are several.
    """
    least = float(residuals.min())
    best = np.flatnonzero(residuals <= least + 1e-6 * (float(residuals.max()) - least) + 1e-15)
    first = int(np.argmin(residuals))
    together = best[np.abs(best - first) <= len(best)]
    return float(together[0] + together[-1]) / 2.0


def _at(delays_s: F64, place: float) -> float:
    return float(np.interp(place, np.arange(len(delays_s)), delays_s))


def _estimate(value: float, resampled: F64, step: float = 0.0) -> Estimate:
    low, high = np.percentile(resampled, _TAIL)
    return Estimate(
        value=float(value), low=float(min(low, value) - step), high=float(max(high, value) + step)
    )


def _widened(found: Estimate, blocks: int, left_out: float) -> Estimate:
    """Return an interval widened for the small number of blocks, and for effects the law omits.

    Student's t replaces the normal distribution. Neighbouring blocks are correlated, since a gait
    is periodic, so half of them count.
    """
    free = max(1.0, blocks / 2.0 - 1.0)
    share = (1.0 + 1.25 / free) * np.sqrt((free + 1.0) / free)
    return Estimate(
        value=found.value,
        low=float(found.value - share * (found.value - found.low) - left_out),
        high=float(found.value + share * (found.high - found.value) + left_out),
    )


def _rate(timing: InputTiming) -> InputRate:
    between_s = np.diff(np.sort(timing.measured_ns)) * 1e-9
    if not len(between_s):
        between_s = np.array([np.inf])
    return InputRate(
        name=timing.name,
        rate_hz=float(1.0 / max(between_s.mean(), 1e-9)),
        jitter_s=float(between_s.std()) if np.isfinite(between_s).all() else float("nan"),
        longest_s=float(between_s.max()),
        age_s=float(np.median(timing.logged_ns - timing.measured_ns)) * 1e-9,
    )


def _mounting(motion: RecordedMotion) -> ImuMounting:
    quat, rate, acceleration = motion.imu[:, :4], motion.imu[:, 4:7], motion.imu[:, 7:]
    step_s = np.diff(motion.imu_s)
    good = (step_s > 0.0) & (step_s < 5.0 * np.median(step_s))
    turned = _rotation_between(quat[:-1], quat[1:])[good] / step_s[good, np.newaxis]
    measured = ((rate[:-1] + rate[1:]) / 2.0)[good]
    up = rotate_inverse(quat, np.array([0.0, 0.0, _GRAVITY]))
    blocks = np.array_split(np.arange(len(turned)), _blocks(motion.imu_s))
    of_rows = np.array_split(np.arange(len(quat)), _blocks(motion.imu_s))

    def gyroscope(rows: Index) -> F64:
        return _angles_deg(_kabsch(measured[rows], turned[rows]))

    def accelerometer(rows: Index) -> F64:
        return _lean_deg(acceleration[rows].mean(axis=0)) - _lean_deg(up[rows].mean(axis=0))

    def tilt(rows: Index) -> F64:
        return _lean_deg(up[rows].mean(axis=0))

    first = _resampled(gyroscope, blocks)
    second, third = _resampled(accelerometer, of_rows), _resampled(tilt, of_rows)
    return ImuMounting(
        gyroscope=(first[0], first[1], first[2]),
        accelerometer=(second[0], second[1]),
        tilt=(third[0], third[1]),
    )


def _blocks(time_s: F64) -> int:
    return max(_FEWEST_BLOCKS, int((time_s[-1] - time_s[0]) / _BLOCK_S))


def _resampled(statistic: Callable[[Index], F64], blocks: Sequence[Index]) -> list[Estimate]:
    random = np.random.default_rng(_SEED)
    draws = random.integers(0, len(blocks), (_RESAMPLES // 2, len(blocks)))
    values = statistic(np.concatenate(blocks))
    found = np.stack([statistic(np.concatenate([blocks[i] for i in draw])) for draw in draws])
    return [_estimate(value, found[:, i]) for i, value in enumerate(values)]


def _rotation_between(before: F64, after: F64) -> F64:
    """Return the rotation vectors [n, 3] from one orientation to the next, in the first's frame."""
    x, y, z, w = (before * [-1.0, -1.0, -1.0, 1.0]).T
    a, b, c, d = after.T
    vector = np.stack(
        [
            w * a + x * d + y * c - z * b,
            w * b - x * c + y * d + z * a,
            w * c + x * b - y * a + z * d,
        ],
        axis=1,
    )
    scalar = w * d - x * a - y * b - z * c
    vector *= np.where(scalar < 0.0, -1.0, 1.0)[:, np.newaxis]
    length = np.linalg.norm(vector, axis=1)
    angle = 2.0 * np.arctan2(length, np.abs(scalar))
    found: F64 = vector * (angle / np.maximum(length, 1e-12))[:, np.newaxis]
    return found


def _kabsch(source: F64, target: F64) -> F64:
    """Return the rotation [3, 3] that maps vectors to others with the least mean square error."""
    left, _, right = np.linalg.svd(target.T @ source)
    flip = np.diag([1.0, 1.0, float(np.linalg.det(left) * np.linalg.det(right))])
    found: F64 = left @ flip @ right
    return found


def _angles_deg(rotation: F64) -> F64:
    """Return a small rotation as angles about x, y and z."""
    vector = [
        rotation[2, 1] - rotation[1, 2],
        rotation[0, 2] - rotation[2, 0],
        rotation[1, 0] - rotation[0, 1],
    ]
    sine = np.linalg.norm(vector) / 2.0
    angle = np.arctan2(sine, (np.trace(rotation) - 1.0) / 2.0)
    found: F64 = np.degrees(np.array(vector) / 2.0 * (angle / max(sine, 1e-12)))
    return found


def _lean_deg(up: F64) -> F64:
    x, y, z = up
    return np.degrees([np.arctan2(y, z), np.arctan2(-x, np.hypot(y, z))])
