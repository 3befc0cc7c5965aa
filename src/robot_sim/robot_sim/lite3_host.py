# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A Lite3 behind the UDP interface of its motion host, without sockets: time is the world's.

The maker documents only part of what a robot's host does with datagrams, and no real host was
observed for this module. The rules here come from a careful reading of `lite3_driver.wire`'s
sources:

- The host sends state frames from the start, with or without a controller.
- FOLD moves the legs to the folded pose and keeps them there, unless a controller has control.
- TAKE_CONTROL gives control to its sender if it is free; the legs stay as they are until the first
  command.
- Only commands of the sender that has control count. Silence of `watchdog_s` ends control.
- After GIVE_BACK, and after the watchdog, the drives damp, and nothing moves until FOLD.
- A datagram that cannot be read, or comes from a sender without control, changes nothing. It is
  counted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lite3_driver import wire
from robot_sim.driven import NS_PER_S
from robot_sim.drives import DriveCommand, position_command
from robot_sim.errors import SimError
from robot_sim.faults import FaultPlan, Streams
from robot_sim.figures import LITE3, Array
from robot_sim.rotation import roll_pitch_yaw
from robot_sim.world import World

Address = tuple[str, int]
AngularVelocityUnit = Literal["rad/s", "deg/s"]
FOLDED_RAD: Array = np.tile([0.0, -1.35, 2.55], 4)
"""Where FOLD takes the legs; the maker's simulator starts there (Lite3_rl_deploy 7871b47)."""
FOLD_NS = 5 * NS_PER_S
_FOLD_STIFFNESS, _FOLD_DAMPING = 100.0, 2.5
_FOREVER_NS = 10**6 * NS_PER_S
IGNORED = ("no_header", "unknown_code", "wrong_form", "not_in_control", "unfit_command")
"""Kinds of datagrams that change nothing: shorter than a header, of a code that this host does not
know, of a known one with another length, type or size, from a sender without control, and commands
that no drive can follow."""
_SORTS_REPORTED, _HEAD = 32, 12
"""Largest number of events about them, against floods; bytes of the header that each one shows."""
ANOTHER: Address = ("another controller", 0)
_AIR_C, _RATED_RISE_C, _WARMING_S = 30.0, 60.0, 120.0
"""Of the drives: temperature at rest, its rise in the end at the rated torque, time constant. Not
measured on any drive: they let temperatures change as a reader of them expects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostEvent:
    """Something that happened to the host.

    Attributes:
        time_ns: On the world's clock.
        what: `folding`, `control_taken`, `control_refused`, `control_given_back`, `watchdog`,
            `following` (a command with stiffness after none), `damped` (none after one with),
            `ignored` (a datagram that changed nothing; the first of each sort),
            `stopped`, `started`.
        who: The sender, or why; empty where there is neither.
    """

    time_ns: int
    what: str
    who: str


class MotionHost:
    """The robot's own computer. One `step` is one step of the world's physics.

    Attributes:
        world: The robot.
        plan: Its faults; may be replaced at any time.
        controller: Sender that has control; None: the host itself.
        target: Position targets [12], rad, of a controller that commands stiffness; else None.
        ignored: Number of datagrams that changed nothing, by kind (`IGNORED`).
    """

    def __init__(
        self,
        world: World,
        *,
        watchdog_s: float = 1.0,
        angular_velocity_unit: AngularVelocityUnit = "rad/s",
        plan: FaultPlan | None = None,
        on_event: Callable[[HostEvent], None] = lambda event: None,
    ) -> None:
        """Switch on; control is free, and the drives damp.

        Args:
            world: The robot; only this host may command it.
            watchdog_s: Silence of the controller after which its control ends.
            angular_velocity_unit: Unit of the IMU's angular velocity in state frames.
            plan: Faults of the robot.
            on_event: Called with each event.

        Raises:
            SimError: The watchdog's time is not positive, or the unit is unknown.
        """
        if not watchdog_s > 0.0:
            raise SimError(f"watchdog_s: expected a time > 0, got {watchdog_s}")
        if angular_velocity_unit not in ("rad/s", "deg/s"):
            raise SimError(
                f"angular_velocity_unit: expected rad/s or deg/s, got '{angular_velocity_unit}'"
            )
        self.world, self.plan = world, plan or FaultPlan()
        self.controller: Address | None = None
        self.target: Array | None = None
        self.ignored = dict.fromkeys(IGNORED, 0)
        self._reported: set[str] = set()
        self._watchdog_ns = round(watchdog_s * NS_PER_S)
        self._rate_scale = 1.0 if angular_velocity_unit == "rad/s" else np.degrees(1.0)
        self._on_event = on_event
        self._on, self._started_ns = True, world.time_ns
        self._heard_ns, self._following = 0, False
        self._fold: tuple[int, Array] | None = None
        self._temperature_c = np.full(len(LITE3.joint_names), _AIR_C)

    def receive(self, data: bytes, source: Address) -> None:
        """Take a datagram from a sender."""
        if not self._on:
            return
        values = wire.read_command(data)
        if values is not None:
            self._follow(values.astype(np.float64), source)
            return
        request = wire.read_request(data)
        if request == wire.FOLD:
            self._begin_to_fold(source)
        elif request == wire.TAKE_CONTROL:
            self._hand_over(source)
        elif request == wire.GIVE_BACK and source == self.controller:
            self._end_control("control_given_back", _text(source))
        elif request == wire.GIVE_BACK:
            self._ignore("not_in_control", source, "a request to give control back")
        else:
            self._ignore(_kind_of(data), source, f"{len(data)} bytes {data[:_HEAD].hex(' ')}")

    def step(self) -> bytes | None:
        """Go on by one step of physics.

        Returns:
            The state frame of the time after it; None while the host is off, or lacks a sensor.
        """
        now_ns = self.world.time_ns
        if self.controller is not None and now_ns - self._heard_ns >= self._watchdog_ns:
            self._end_control("watchdog", _text(self.controller))
        if self._fold is not None:
            self._go_on_folding(now_ns)
        self.plan.act(self.world)
        self.world.advance(1)
        truth = self.world.sense()
        self._warm(truth.joint_effort)
        streams = self.plan.apply(truth)
        return self._frame(streams) if self._on else None

    def stop(self) -> None:
        """Switch the host off: it neither receives nor sends, control ends, the drives damp."""
        self._end_control("stopped", "")
        self._on = False

    def start(self) -> None:
        """Switch it on again; its tick begins at 0."""
        self._on, self._started_ns = True, self.world.time_ns
        self._say("started", "")

    def occupy(self) -> None:
        """Let another controller take control, if it is free: it folds the legs."""
        if self.controller is None:
            self._begin_to_fold(ANOTHER)
            self._hand_over(ANOTHER)

    def vacate(self) -> None:
        """Let the other controller give control back."""
        if self.controller == ANOTHER:
            self._end_control("control_given_back", _text(ANOTHER))

    def _hand_over(self, source: Address) -> None:
        if self.controller is None:
            self.controller, self._heard_ns = source, self.world.time_ns
            if source == ANOTHER:
                self._heard_ns = _FOREVER_NS
            self._say("control_taken", _text(source))
        elif source != self.controller:
            self._say("control_refused", f"{_text(source)}: {_text(self.controller)} has it")

    def _end_control(self, what: str, who: str) -> None:
        """Damp; control is free again."""
        self.controller, self._fold, self.target = None, None, None
        self.world.expire()
        self._say(what, who)
        if self._following:
            self._following = False
            self._say("damped", what)

    def _follow(self, values: Array, source: Address) -> None:
        """Give a command frame [12, 5] to the drives."""
        if source != self.controller:
            self._ignore("not_in_control", source, "a joint command")
            return
        position, velocity, effort, stiffness, damping = values.T.copy()
        command = DriveCommand(
            joint_names=LITE3.joint_names,
            position=position,
            velocity=velocity,
            effort=effort,
            stiffness=stiffness,
            damping=damping,
            effort_limit=LITE3.effort_limit_nm,
            valid_for_ns=_FOREVER_NS,
        )
        try:
            self.world.apply(command)
        except SimError as error:
            self._ignore("unfit_command", source, str(error))
            return
        follows = bool(stiffness.any())
        self._fold, self._heard_ns = None, self.world.time_ns
        self.target = position if follows else None
        if follows != self._following:
            self._following = follows
            self._say("following" if follows else "damped", _text(source))

    def _begin_to_fold(self, source: Address) -> None:
        if self.controller is not None:
            self._ignore("not_in_control", source, "a request to fold")
            return
        self._fold = self.world.time_ns, self.world.sense().joint_pos
        self._say("folding", _text(source))

    def _go_on_folding(self, now_ns: int) -> None:
        """Move the legs' target on a straight line; then it stays."""
        assert self._fold is not None
        began_ns, start = self._fold
        part = (now_ns - began_ns) / FOLD_NS
        target = start + min(part, 1.0) * (FOLDED_RAD - start)
        self.world.apply(
            position_command(
                target, stiffness=_FOLD_STIFFNESS, damping=_FOLD_DAMPING, valid_for_ns=_FOREVER_NS
            )
        )
        if part >= 1.0:
            self._fold = None

    def _warm(self, effort_nm: Array) -> None:
        """Let the drives' temperatures follow the torques' squares, by one step."""
        goal_c = _AIR_C + _RATED_RISE_C * (effort_nm / LITE3.effort_limit_nm) ** 2
        share = 1.0 / (_WARMING_S * self.world.steps_per_s)
        self._temperature_c += share * (goal_c - self._temperature_c)

    def _frame(self, streams: Streams) -> bytes | None:
        joints, imu, contact = streams.joint_states, streams.imu, streams.contact
        if joints is None or imu is None or contact is None:
            return None
        return wire.write_state(
            wire.Lite3State(
                tick=(joints.time_ns - self._started_ns) // 1_000_000,
                imu_stamp_ms=(imu.time_ns - self._started_ns) // 1_000_000,
                rpy=roll_pitch_yaw(imu.quat_xyzw),
                ang_vel=imu.ang_vel_body * self._rate_scale,
                lin_acc=imu.lin_acc_body,
                joint_pos=joints.joint_pos,
                joint_vel=joints.joint_vel,
                joint_effort=joints.joint_effort,
                temperature_c=self._temperature_c,
                contact_force=contact.foot_force_world,
            )
        )

    def _ignore(self, kind: str, source: Address, what: str) -> None:
        """Count a datagram that changes nothing; report the first of each sort."""
        self.ignored[kind] += 1
        sort = f"{kind}: {what}"
        if sort not in self._reported and len(self._reported) < _SORTS_REPORTED:
            self._reported.add(sort)
            self._say("ignored", f"{sort} from {_text(source)}")

    def _say(self, what: str, who: str) -> None:
        self._on_event(HostEvent(time_ns=self.world.time_ns, what=what, who=who))


def _kind_of(data: bytes) -> str:
    """Return the kind under which an invalid datagram is counted."""
    code = wire.code_of(data)
    if code is None:
        return "no_header"
    known = (wire.FOLD, wire.TAKE_CONTROL, wire.GIVE_BACK, wire.COMMAND)
    return "wrong_form" if code in known else "unknown_code"


def _text(source: Address) -> str:
    return source[0] if source == ANOTHER else f"{source[0]}:{source[1]}"
