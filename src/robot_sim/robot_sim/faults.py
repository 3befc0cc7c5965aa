# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Faults of a robot, which begin and end by simulated time.

A fault is written `kind[:target][@start_s][+duration_s][=value]`. The default start is 0; without a
duration, a fault lasts to the end:

==========================================  ======================================================
`freeze:<stream>`                           the stream repeats its last message, stamp included
`drop:<stream>`                             the stream is silent
`late:<stream>=seconds`                     each message has the values from this long ago
`slow:<stream>=seconds`                     each message repeats, stamp included, for this long
`nan:<stream>.<field>`                      the first element of the field is NaN
`noise:<stream>.<field>=sigma`              Gaussian noise in the unit of the field
`hold:<stream>.<field>`                     the field does not change
`zero:<stream>.<field>`                     the whole field is 0
`reverse:<stream>.<field>`                  the field has the opposite sign
`bias:<stream>.<field>=value`               this value is added to the field's last element
`stuck:<joint>`                             the joint's position reading does not change
`swapped:<joint>.<joint>`                   positions and velocities of two joints are exchanged
`order:joint_states`                        joint values are grouped by joint type, not by leg,
                                            under unchanged names; quadrupeds only
`latency:command=seconds`                   commands reach the drives later (0 to 0.04 s)
`motor_off:<joint>`                         the motor neither drives nor brakes
`push:front|rear|left|right=newton`         a push *from* that side, seen from the robot
==========================================  ======================================================

Examples: `nan:joint_states.velocity@3.0+0.02`, `push:left@5.0+0.1=100`, `drop:imu@4`.
"""

import dataclasses
import logging
import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from robot_sim.driven import MAX_LATENCY_NS, NS_PER_S
from robot_sim.errors import SimError
from robot_sim.figures import LITE3
from robot_sim.rotation import turn, yaw_rad
from robot_sim.world import Sensors, World

STREAM_FIELDS = {
    "joint_states": {"position": "joint_pos", "velocity": "joint_vel", "effort": "joint_effort"},
    "imu": {
        "orientation": "quat_xyzw",
        "angular_velocity": "ang_vel_body",
        "linear_acceleration": "lin_acc_body",
    },
    "contact": {"force": "foot_force_world"},
    "odom": {"position": "pos_world", "velocity": "lin_vel_body"},
}
"""Streams and their fields, named as in `Sensors`."""
_PUSH_DIRECTION = {
    "front": (-1.0, 0.0, 0.0),
    "rear": (1.0, 0.0, 0.0),
    "left": (0.0, -1.0, 0.0),
    "right": (0.0, 1.0, 0.0),
}
_LEG_JOINTS = 3
_FIELD_TARGETS = tuple(f"{stream}.{field}" for stream, x in STREAM_FIELDS.items() for field in x)
TARGETS = {
    "freeze": tuple(STREAM_FIELDS),
    "drop": tuple(STREAM_FIELDS),
    "late": tuple(STREAM_FIELDS),
    "slow": tuple(STREAM_FIELDS),
    "nan": _FIELD_TARGETS,
    "noise": _FIELD_TARGETS,
    "hold": _FIELD_TARGETS,
    "zero": _FIELD_TARGETS,
    "reverse": _FIELD_TARGETS,
    "bias": _FIELD_TARGETS,
    "stuck": (),
    "swapped": (),
    "order": ("joint_states",),
    "latency": ("command",),
    "motor_off": (),
    "push": tuple(_PUSH_DIRECTION),
}
"""Kinds of faults and the targets of each; a plan adds the robot's joints."""
_OF_JOINTS = ("motor_off", "stuck", "swapped")
WITH_VALUE = ("late", "slow", "noise", "bias", "latency", "push")
"""Kinds that take a value; the others take none."""
_NUMBER = r"[0-9]*\.?[0-9]+(?:[eE][+-]?[0-9]+)?"
_TEXT = re.compile(
    rf"(?P<kind>\w+):(?P<target>[\w.]+)(?:@(?P<start>{_NUMBER}))?"
    rf"(?:\+(?P<duration>{_NUMBER}))?(?:=(?P<value>{_NUMBER}))?"
)
_log = logging.getLogger("robot_sim")
AnyFault = TypeVar("AnyFault", bound="Fault")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault of a robot.

    A subclass can add more kinds: it has different `targets` and its own `with_value`.

    Attributes:
        kind: One of the keys of `targets`.
        target: One of the kind's targets.
        start_s: Simulated time at which the fault begins.
        duration_s: Duration; infinite if the fault never ends.
        value: Noise and bias in the field's unit, times in s, push in N; unused by other kinds.
    """

    targets: ClassVar[Mapping[str, tuple[str, ...]]] = TARGETS
    with_value: ClassVar[tuple[str, ...]] = WITH_VALUE

    kind: str
    target: str
    start_s: float = 0.0
    duration_s: float = math.inf
    value: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in self.targets:
            raise SimError(f"fault: unknown kind '{self.kind}'; known: {', '.join(self.targets)}")
        if self.targets[self.kind]:
            _require(self, self.targets[self.kind])
        limited = (self.kind, self.target) == ("latency", "command")
        if limited and self.value * NS_PER_S > MAX_LATENCY_NS:
            limit_s = MAX_LATENCY_NS / NS_PER_S
            raise SimError(f"fault latency: expected at most {limit_s} s, found {self.value}")

    @classmethod
    def parse(cls: type[AnyFault], text: str) -> AnyFault:
        """Parse `kind:target[@start_s][+duration_s][=value]`."""
        match = _TEXT.fullmatch(text.strip())
        if match is None:
            raise SimError(
                f"fault: expected kind:target[@start_s][+duration_s][=value], found '{text}'; "
                f"known kinds: {', '.join(cls.targets)}"
            )
        kind, value = match["kind"], match["value"]
        if kind in cls.targets and (value is not None) != (kind in cls.with_value):
            expected = "a value, such as '=0.1'" if kind in cls.with_value else "no value"
            raise SimError(f"fault {kind}: expected {expected}, found '{text}'")
        return cls(
            kind=kind,
            target=match["target"],
            start_s=float(match["start"] or 0.0),
            duration_s=float(match["duration"] or math.inf),
            value=float(value or 0.0),
        )

    @classmethod
    def parse_all(cls: type[AnyFault], texts: Iterable[str], *, now_ns: int = 0) -> list[AnyFault]:
        """Parse faults; empty strings are ignored.

        Args:
            texts: The faults.
            now_ns: Simulated time; faults that end before it are rejected.
        """
        faults = [(text, cls.parse(text)) for text in texts if text.strip()]
        for text, fault in faults:
            if fault.end_s * NS_PER_S <= now_ns:
                raise SimError(
                    f"fault {text} ends at {fault.end_s:g} s, but the simulated time is already "
                    f"{now_ns / NS_PER_S:.1f} s; times count from the start of the simulation"
                )
        return [fault for _, fault in faults]

    @property
    def end_s(self) -> float:
        """Simulated time at which the fault ends."""
        return self.start_s + self.duration_s

    def active(self, time_ns: int) -> bool:
        return self.start_s <= time_ns / NS_PER_S < self.end_s


def starting(text: str, start_s: float) -> str:
    """Insert a start into the text of a fault without one, before its duration and value."""
    place = min((text.index(mark) for mark in "+=" if mark in text), default=len(text))
    return f"{text[:place]}@{start_s:.3f}{text[place:]}"


class FaultFile:
    """A file with one fault per line, reread whenever it changes."""

    def __init__(self, path: str, change: Callable[[Sequence[str]], None]) -> None:
        """Prepare to watch a file; nothing is read yet.

        Args:
            path: The file, which may not exist yet; empty for none.
            change: Replaces all faults with those in the given lines; may raise SimError.
        """
        self._path, self._change = path, change
        self._read: tuple[int, int] | None = None

    def look(self) -> None:
        """Replace the faults if the file has changed; log an error if the new ones are invalid."""
        if not self._path:
            return
        try:
            found = Path(self._path).stat()
            # The kernel updates file timestamps every few ms only.
            if self._read == (found.st_mtime_ns, found.st_size):
                return
            self._read = found.st_mtime_ns, found.st_size
            self._change(Path(self._path).read_text("utf-8").splitlines())
        except FileNotFoundError:
            pass
        except (OSError, UnicodeDecodeError, SimError) as error:
            _log.error("%s: the faults are unchanged: %s", self._path, error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """Sensor output of each stream; None while the stream is silent.

    Only the stream's own fields and the stamp, `time_ns`, of each entry are used.
    """

    joint_states: Sensors | None
    imu: Sensors | None
    contact: Sensors | None
    odom: Sensors | None

    def merged(self) -> Sensors | None:
        """Return all streams merged, with the oldest stamp; None if one of them is silent."""
        shown = {name: getattr(self, name) for name in STREAM_FIELDS}
        if self.joint_states is None or None in shown.values():
            return None
        values: dict[str, Any] = {
            field: getattr(shown[stream], field)
            for stream, fields in STREAM_FIELDS.items()
            for field in fields.values()
        }
        oldest_ns = min(sensors.time_ns for sensors in shown.values())
        return dataclasses.replace(self.joint_states, time_ns=oldest_ns, **values)


class FaultPlan:
    """Planned faults: `act` applies them to the world, `apply` to the sensor output."""

    def __init__(
        self,
        faults: Iterable[Fault] = (),
        *,
        seed: int = 0,
        joint_names: Sequence[str] = LITE3.joint_names,
    ) -> None:
        """Plan faults.

        Args:
            faults: The faults; faults on the same stream apply in this order.
            seed: Seed for the noise.
            joint_names: The robot's joints.
        """
        self.faults = tuple(faults)
        for fault in self.faults:
            if fault.kind in _OF_JOINTS:
                _require_joints(fault, joint_names)
            if fault.kind == "order" and len(joint_names) % _LEG_JOINTS:
                raise SimError(
                    f"fault order: expected legs with {_LEG_JOINTS} joints each, found a robot "
                    f"with {len(joint_names)} joints"
                )
        self._rng = np.random.default_rng(seed)
        self._last: dict[str, Sensors] = {}
        self._earlier: dict[Fault, deque[Sensors]] = {
            fault: deque() for fault in self.faults if fault.kind == "late"
        }
        self._stuck: dict[Fault, Any] = {}
        self._begun: set[Fault] = set()

    @classmethod
    def parse(
        cls,
        texts: Iterable[str],
        *,
        seed: int = 0,
        now_ns: int = 0,
        joint_names: Sequence[str] = LITE3.joint_names,
    ) -> "FaultPlan":
        return cls(Fault.parse_all(texts, now_ns=now_ns), seed=seed, joint_names=joint_names)

    def act(self, world: World) -> None:
        """Begin and end the motor, push and latency faults that are due.

        Call this before each `world.step`.
        """
        for fault in self.faults:
            active = fault.active(world.time_ns)
            if active and fault not in self._begun:
                self._begun.add(fault)
                _begin(fault, world)
            elif not active and fault in self._begun:
                self._begun.remove(fault)
                _end(fault, world)

    def apply(self, sensors: Sensors) -> Streams:
        """Return the robot's output for these `sensors`."""
        return Streams(**{stream: self.stream(stream, sensors) for stream in STREAM_FIELDS})

    def stream(self, stream: str, sensors: Sensors) -> Sensors | None:
        """Return what one stream publishes for these `sensors`; None if it is silent."""
        for fault, earlier in self._earlier.items():
            if fault.target == stream:
                earlier.append(sensors)
                while earlier[0].time_ns < sensors.time_ns - fault.value * NS_PER_S:
                    earlier.popleft()
        mine = [
            fault
            for fault in self.faults
            if find_stream(fault) == stream and fault.active(sensors.time_ns)
        ]
        kinds = {fault.kind for fault in mine}
        if "drop" in kinds:
            return None
        last = self._last.get(stream)
        if last is not None and (
            "freeze" in kinds
            or any(
                fault.kind == "slow" and sensors.time_ns - last.time_ns < fault.value * NS_PER_S
                for fault in mine
            )
        ):
            return last
        for fault in mine:
            sensors = self._spoil(fault, sensors)
        self._last[stream] = sensors
        return sensors

    def _spoil(self, fault: Fault, sensors: Sensors) -> Sensors:
        stream, _, field = fault.target.partition(".")
        if fault.kind == "late":
            return self._earlier[fault][0]
        if fault.kind == "order":
            fields = STREAM_FIELDS[stream].values()
            by_part = np.arange(len(sensors.joint_names)).reshape(-1, _LEG_JOINTS).T.ravel()
            swapped: dict[str, Any] = {name: getattr(sensors, name)[by_part] for name in fields}
            return dataclasses.replace(sensors, **swapped)
        if fault.kind == "stuck":
            joint, position = sensors.joint_names.index(fault.target), sensors.joint_pos.copy()
            position[joint] = self._stuck.setdefault(fault, position[joint])
            return dataclasses.replace(sensors, joint_pos=position)
        if fault.kind == "swapped":
            pair = [sensors.joint_names.index(name) for name in fault.target.split(".")]
            places = np.arange(len(sensors.joint_names))
            places[pair] = pair[::-1]
            return dataclasses.replace(
                sensors, joint_pos=sensors.joint_pos[places], joint_vel=sensors.joint_vel[places]
            )
        name = STREAM_FIELDS.get(stream, {}).get(field)
        if name is None:
            return sensors
        values = getattr(sensors, name).copy()
        if fault.kind == "nan":
            values.flat[0] = np.nan
        elif fault.kind == "noise":
            values += self._rng.normal(0.0, fault.value, values.shape)
        elif fault.kind == "bias":
            values.flat[-1] += fault.value
        elif fault.kind == "hold":
            values = self._stuck.setdefault(fault, values)
        else:
            values *= -1.0 if fault.kind == "reverse" else 0.0
        changed: dict[str, Any] = {name: values}
        return dataclasses.replace(sensors, **changed)


def find_stream(fault: Fault) -> str:
    """Return the stream that a fault affects; for a body fault, a word that is not a stream."""
    if fault.kind in ("stuck", "swapped"):
        return "joint_states"
    return fault.target.split(".")[0]


def _require_joints(fault: Fault, joint_names: Sequence[str]) -> None:
    """Raise SimError unless a fault targets a joint, or two joints to swap."""
    if fault.kind != "swapped":
        _require(fault, joint_names)
    elif len(pair := fault.target.split(".")) != 2 or not {*pair} <= {*joint_names}:
        raise SimError(
            f"fault swapped: expected two joints (such as {'.'.join(joint_names[:2])}), found "
            f"'{fault.target}'; known: {', '.join(joint_names)}"
        )


def _require(fault: Fault, targets: Sequence[str]) -> None:
    """Raise SimError unless the fault's target is one of these."""
    if fault.target not in targets:
        known = ", ".join(targets)
        raise SimError(f"fault {fault.kind}: unknown target '{fault.target}'; known: {known}")


def _begin(fault: Fault, world: World) -> None:
    """Apply a fault to the robot's body."""
    if fault.kind == "motor_off":
        world.motor_off(fault.target)
    elif fault.kind == "latency":
        world.latency_ns = round(fault.value * NS_PER_S)
    elif fault.kind == "push":
        force_n = fault.value * np.array(_PUSH_DIRECTION[fault.target])
        world.push(turn(force_n, yaw_rad(world.sense().quat_xyzw)), fault.duration_s)


def _end(fault: Fault, world: World) -> None:
    """Remove a fault from the robot's body; a push ends on its own."""
    if fault.kind == "motor_off":
        world.motor_on(fault.target)
    elif fault.kind == "latency":
        world.latency_ns = 0
