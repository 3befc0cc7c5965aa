# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Invariants that hold for every driver, whatever its robot and senders do; checked during tests.

`LinkWatch` observes each step of a driver's state machine, on that machine's clock. `HeardWatch`
observes what a robot double receives from a driver that runs in separate processes, and what was
sent to that driver.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from robot_driver.interfaces import (
    DAMPING,
    EFFORT,
    F64,
    MODE_DAMP,
    NS_PER_S,
    POSITION,
    STIFFNESS,
    VELOCITY,
    DriveFigures,
    DriverPhase,
    DriveState,
    WireCommand,
)
from robot_driver.robot import RobotInterface
from robot_driver.testing.case import COMMANDED, GIVEN_BACK, Heard

if TYPE_CHECKING:
    from policy_msgs.msg import JointCommand, RobotStatus

    from robot_driver.link import Link

DRIVER_INVARIANTS: Mapping[str, str] = {
    "driver_phases_in_order": "Control is requested, taken with the robot at rest, and given back "
    "after the robot has been brought to rest or lowered; no phase is skipped, unless the robot "
    "takes control back.",
    "driver_changes_have_reasons": "Each driver status states a reason.",
    "nothing_sent_unasked": "The drives receive nothing before control is requested, or while "
    "the robot's own controller is preparing or lowering the robot.",
    "nothing_sent_after": "The drives receive nothing after control has been given back.",
    "rest_mode_first": "After taking control, and after each stop, the driver follows no command "
    "until it has received one in the rest mode. These also count as stops: an invalid command "
    "whose mode is the rest mode, a new sender, or a first command too far from the measured pose.",
    "control_is_taken_from_rest": "Control is not taken while the newest command is invalid, or "
    "while it is unexpired but not in the rest mode.",
    "expired_is_not_followed": "No command is followed once its `valid_for` has passed: the next "
    "frame brings the robot to rest.",
    "lost_robot_is_not_followed": "No command is followed while the robot state is older than its "
    "timeout, or while the robot reports a fault.",
    "estop_is_not_followed": "No command is followed while the e-stop is pressed.",
    "newest_is_followed": "In FOLLOWING, each joint gets its position from the newest command or, "
    "if that would leave the joint almost without stiffness and damping, the values that bring it "
    "to rest.",
    "following_ends_for_cause": "The driver stops following only for one of these causes: a "
    "request, an expired command, an invalid command whose mode is the rest mode, a new sender, a "
    "first command too far from the measured pose, or a robot state that is too old or reports a "
    "fault.",
    "frame_is_finite": "Each value of a frame is finite, and no gain is negative.",
    "frame_in_figures": "In FOLLOWING, the position, stiffness and damping in a frame are within "
    "the robot's limits.",
    "torque_in_limits": "In FOLLOWING, at the last measured state, no frame demands a torque "
    "above the effort limit of the command or of the drive.",
    "starts_at_the_robot": "A joint without stiffness is first given stiffness only at a position "
    "within `max_start_error_rad` of the measured one; before that, its torque is at most "
    "`first_torque_nm`.",
    "checked_before_following": "With `obeyed_torque_nm`, after taking control, the driver follows "
    "no command until the drives have braked for 0.5 s and then exert less than that torque.",
    "disobedience_ends_control": "With `obeyed_torque_nm`, control is given back when two joints "
    "have ignored their commands for 0.3 s, and not before.",
    "no_joint_is_limp": "In FOLLOWING, each joint has stiffness or damping, except on a robot "
    "whose joints may be limp.",
    "rest_in_damping": "In DAMPING, each frame brings the robot to rest.",
    "rest_lasts": "Before control is given back, the driver brings the robot to rest for `rest_s`.",
    "counts_never_fall": "No counter in a driver's status decreases while the driver runs.",
    "commands_are_counted": "A driver counts each command that it receives, and counts each "
    "invalid one as refused.",
    "driver_answers": "A running driver answers each request.",
}
"""Text of each invariant, by name."""
PRESSED = "the e-stop was pressed"
"""Text in a driver's obstacles once its e-stop has been pressed."""
_AFTER = {
    DriverPhase.LISTENING: {DriverPhase.TAKING},
    DriverPhase.TAKING: {DriverPhase.LISTENING, DriverPhase.DAMPING, DriverPhase.RELEASING},
    DriverPhase.FOLLOWING: {DriverPhase.DAMPING, DriverPhase.RELEASING},
    DriverPhase.DAMPING: {DriverPhase.FOLLOWING, DriverPhase.RELEASING},
    DriverPhase.RELEASING: {DriverPhase.LISTENING},
}
_ROUNDING, _ROUNDING_NM = 1e-6, 1e-3
_MOVED_RAD = 0.1
"""Maximum motion of a joint between a command's arrival and the resulting frame."""
_BRAKES_S, _CARRYING = 0.5, 0.1
_STEPS_LOST, _RATE_HZ, _LITTLE_STIFFNESS, _GROWTH = 100, 1000, 1.0, 4.0
"""Number of sequence numbers that a sender may skip, and its highest rate. When following starts:
stiffness (N m/rad) below which the torque is limited; growth in stiffness (factor) beyond which the
position is limited.
"""
_IGNORES_S, _SHARE, _IGNORING, _STRAINED_S, _LATE_S = 0.3, 0.5, 2, 0.1, 0.05
"""Thresholds for a robot that ignores commands: time, share of the torque, number of joints, time
without strain; and the maximum delay from a received state to the step that the watch sees.
"""
DISOBEYS = "ignores commands"
"""Text in a driver's reason for giving back a robot that ignores commands."""
_LARGEST, _LONGEST_NS, _MOST_EFFORT = float(np.finfo(np.float32).max), NS_PER_S, 3.0
"""Bounds of a command: any value; its `valid_for`; its effort, in multiples of a drive's limit."""
_BUSY_S = 0.5
"""Maximum delay of messages on a busy machine."""


def frame_problems(
    values: F64, figures: DriveFigures, *, rests: bool
) -> Iterator[tuple[str, bool, object]]:
    """Yield each invariant of a frame's values [n, 5]: name, True if it holds, what was found."""
    gains = values[:, [STIFFNESS, DAMPING]]
    finite = bool(np.isfinite(values).all() and (gains >= 0.0).all())
    yield "frame_is_finite", finite, values
    if rests:
        return
    position, margin = values[:, POSITION], figures.position_margin_rad + _ROUNDING
    excess = np.maximum(position - figures.highest_rad, figures.lowest_rad - position)
    outside = (excess > margin) & (values[:, STIFFNESS] > 0.0)
    largest = np.array([figures.largest_stiffness, figures.largest_damping])
    within = not outside.any() and bool((gains <= largest * (1.0 + _ROUNDING)).all())
    yield "frame_in_figures", within, values


def _law_torque(values: F64, state: DriveState) -> F64:
    """Return the torques [n], N m, that the drives exert for a frame: see policy_msgs/JointCommand.

    Does not use the driver's own function, because that is under test.
    """
    error = values[:, [POSITION, VELOCITY]] - np.stack([state.joint_pos, state.joint_vel], axis=1)
    return np.asarray((values[:, [STIFFNESS, DAMPING]] * error).sum(axis=1) + values[:, EFFORT])


def _is_valid(command: WireCommand, figures: DriveFigures) -> bool:
    """Return True if a driver must accept a command, without using the driver's own check."""
    values, limit = command.values, command.effort_limit
    gains = values[:, [STIFFNESS, DAMPING]]
    excess = np.maximum(
        values[:, POSITION] - figures.highest_rad, figures.lowest_rad - values[:, POSITION]
    )
    pushes = values[:, [VELOCITY, EFFORT, STIFFNESS]].any()
    return bool(
        (np.abs(values) <= _LARGEST).all()
        and (np.isfinite(limit) & (limit >= 0.0)).all()
        and 0 < command.valid_for_ns <= _LONGEST_NS
        and not (command.mode == MODE_DAMP and pushes)
        and (gains >= 0.0).all()
        and (gains <= [figures.largest_stiffness, figures.largest_damping]).all()
        and (np.abs(values[:, EFFORT]) <= _MOST_EFFORT * figures.largest_torque_nm).all()
        and not ((excess > figures.position_margin_rad) & (gains[:, 0] > 0.0)).any()
    )


def _continues(before: WireCommand, command: WireCommand) -> bool:
    """Return True if two successive valid commands can come from one sender."""
    silent_ns = command.received_ns - before.received_ns
    sent_meanwhile = silent_ns * _RATE_HZ / NS_PER_S if silent_ns >= before.valid_for_ns else 0.0
    return 0 < command.sequence - before.sequence <= _STEPS_LOST + sent_meanwhile


def _ignores(values: F64, state: DriveState, figures: DriveFigures) -> bool:
    """Return True if the joints do not exert the torque that a frame's values [n, 5] demand."""
    demand, given = np.abs(_law_torque(values, state)), np.abs(state.joint_effort)
    brakes = values[:, STIFFNESS] == 0.0
    asked = ~brakes & (demand > figures.demand_nm)
    pushed = brakes & (given > demand + figures.foreign_nm)
    weak = asked & (given < _SHARE * demand)
    return bool(
        pushed.sum() >= _IGNORING or (weak.sum() >= _IGNORING and weak.sum() == asked.sum())
    )


class LinkWatch:
    """Checks the invariants of a `Link` after each of its steps.

    Attributes:
        checked: Number of checks so far, by invariant.
    """

    def __init__(self, robot: RobotInterface[Any]) -> None:
        """Start watching a robot's link, which must be listening."""
        self._robot, self._figures = robot, robot.figures
        self._phase = DriverPhase.LISTENING
        self._since_ns = self._last_ns = self._taken_ns = 0
        self._newest: WireCommand | None = None
        self._invalid_ns: int | None = None
        self._received = self._invalid = 0
        self._rested = self._asked_to_damp = False
        self._frames: list[F64] = []
        self._stiffness = np.zeros(len(robot.figures.joint_names))
        self._accepted = self._stiffness
        """Stiffness [n] of the newest command that may be followed."""
        self._at_rest = np.ones(len(robot.figures.joint_names), bool)
        """Joints [n] that were at rest in the last frame."""
        self._followed_command: WireCommand | None = None
        self._state: DriveState | None = None
        self._sent: F64 | None = None
        self._seen_ns = self._strained_ns = -NS_PER_S
        self._ignored_from_ns: int | None = None
        self._is_checked = self._is_foreign = False
        self.checked: Counter[str] = Counter()

    def commanded(self, command: WireCommand) -> None:
        """Record a command that the link received."""
        rests, before = command.mode == self._figures.rest_mode, self._newest
        self._received += 1
        if not _is_valid(command, self._figures):
            self._invalid += 1
            self._invalid_ns, self._rested = command.received_ns, self._rested and not rests
            return
        self._newest, self._invalid_ns = command, None
        if before is not None and not _continues(before, command):
            self._rested = False
        elif rests:
            self._rested = True
        accepted = np.zeros_like(self._accepted)
        self._accepted = self._accepted if self._rested else accepted
        self._rested &= self._starts_at_the_robot(command)
        self._accepted = command.values[:, STIFFNESS] if self._rested else accepted

    def damped(self) -> None:
        """Record that the link was asked to bring the robot to rest."""
        self._asked_to_damp = True

    def _starts_at_the_robot(self, command: WireCommand) -> bool:
        state, before = self._robot.reception.state, self._accepted
        position, velocity, effort, stiffness, damping = command.values.T
        if state is None:
            return False
        error = np.abs(position - state.joint_pos)[stiffness > _GROWTH * before]
        push = np.abs(damping * velocity + effort)[before < _LITTLE_STIFFNESS]
        return bool(
            error.max(initial=0.0) <= self._robot.settings.max_start_error_rad
            and push.max(initial=0.0) <= self._figures.first_torque_nm
        )

    def encoded(self, values: F64) -> None:
        """Record the values [n, 5] of a frame that the link sends."""
        self._frames.append(values.copy())

    def see(self, link: Link[Any], now_ns: int) -> Iterator[tuple[str, str]]:
        """Yield each invariant that the last step violated, with what was found."""
        for name, holds, what in self._looked(link, now_ns):
            self.checked[name] += 1
            if not holds:
                yield name, str(what)

    def _looked(self, link: Link[Any], now_ns: int) -> Iterator[tuple[str, bool, object]]:
        before, phase, reason = self._phase, link.phase, link.reason
        frames, self._frames = self._frames, []
        counts = link.counts
        received, refused = counts["command_received"], counts["command_refused"]
        right = received == self._received and self._invalid <= refused <= received
        yield "commands_are_counted", right, f"{received} received, {refused} refused"
        yield "driver_changes_have_reasons", bool(reason), phase.name
        if phase is not before:
            yield from self._changed(before, phase, now_ns)
        if self._robot.settings.obeyed_torque_nm > 0.0:
            yield from self._obeyed(phase, reason, now_ns)
        if phase in (DriverPhase.LISTENING, DriverPhase.TAKING):
            name = "nothing_sent_unasked" if phase is DriverPhase.TAKING else "nothing_sent_after"
            yield name, not frames, phase.name
        if phase is not DriverPhase.FOLLOWING:
            self._rested &= phase is DriverPhase.DAMPING
            self._stiffness = np.zeros_like(self._stiffness)
            self._at_rest = np.ones_like(self._at_rest)
        self._sent = None if phase is DriverPhase.TAKING else frames[-1] if frames else self._sent
        for values in frames:
            follows = phase is DriverPhase.FOLLOWING
            yield from frame_problems(values, self._figures, rests=not follows)
            if phase is DriverPhase.DAMPING:
                rests = self._is_rest(values)
                yield "rest_in_damping", rests, values
            elif follows:
                yield from self._followed(values)
        if phase is DriverPhase.FOLLOWING:
            yield "newest_is_followed", link.newest is self._newest, "an invalid or older one"
            yield from self._following(now_ns)
        self._phase, self._last_ns, self._asked_to_damp = phase, now_ns, False

    def _changed(
        self, before: DriverPhase, phase: DriverPhase, now_ns: int
    ) -> Iterator[tuple[str, bool, object]]:
        # Requests between two steps may pass through more than one phase.
        ways = _AFTER[before]
        ways = ways | {after for way in ways for after in _AFTER[way]}
        is_taken_back = phase is DriverPhase.LISTENING and bool(self._robot.taken_back())
        if is_taken_back and before is not DriverPhase.TAKING:
            ways = {phase}
        yield "driver_phases_in_order", phase in ways, f"{before.name} to {phase.name}"
        if (before, phase) == (DriverPhase.RELEASING, DriverPhase.LISTENING) and not is_taken_back:
            lasted_s = (now_ns - self._since_ns) / NS_PER_S
            yield "rest_lasts", lasted_s >= self._figures.rest_s, f"{lasted_s:.3f} s"
        if before is DriverPhase.TAKING:
            self._taken_ns, self._is_checked, self._is_foreign = now_ns, False, False
        if (before, phase) == (DriverPhase.TAKING, DriverPhase.DAMPING):
            newest, invalid_ns = self._newest, self._invalid_ns
            invalid = invalid_ns is not None and now_ns - invalid_ns < _LONGEST_NS
            drives = (
                newest is not None
                and newest.mode != self._figures.rest_mode
                and now_ns - newest.received_ns < newest.valid_for_ns
            )
            yield "control_is_taken_from_rest", not (invalid or drives), newest
        if phase is DriverPhase.FOLLOWING and self._robot.settings.obeyed_torque_nm > 0.0:
            braked_s = (now_ns - self._taken_ns) / NS_PER_S
            yield "checked_before_following", braked_s >= _BRAKES_S, f"{braked_s:.3f} s"
            yield "checked_before_following", not self._is_foreign, "the joints were driven"
        if (before, phase) == (DriverPhase.FOLLOWING, DriverPhase.DAMPING):
            may_follow = all(holds for _, holds, _ in self._following(now_ns))
            has_cause = self._asked_to_damp or not may_follow
            yield "following_ends_for_cause", has_cause, self._newest
        self._since_ns = self._last_ns  # it was requested after the last step
        if before is DriverPhase.FOLLOWING:
            self._rested = False

    def _obeyed(
        self, phase: DriverPhase, reason: str, now_ns: int
    ) -> Iterator[tuple[str, bool, object]]:
        """Judge from received states and the frames before them whether the robot obeys."""
        state = self._robot.reception.state
        if state is not None and state is not self._state:
            self._state, self._seen_ns = state, now_ns
            if self._sent is None or not _ignores(self._sent, state, self._figures):
                self._ignored_from_ns = None
            elif self._ignored_from_ns is None:
                self._ignored_from_ns = now_ns
            if np.abs(state.joint_effort).max() >= self._robot.settings.obeyed_torque_nm:
                self._strained_ns = now_ns
        # states may be far apart, and nothing is known of the time between two of them
        from_ns = self._seen_ns if self._ignored_from_ns is None else self._ignored_from_ns
        ignored_s = (self._seen_ns - from_ns) / NS_PER_S
        in_control = DriverPhase.DAMPING, DriverPhase.FOLLOWING
        if phase not in in_control:
            if self._phase in in_control and DISOBEYS in reason:
                enough = ignored_s >= _IGNORES_S - _LATE_S
                yield "disobedience_ends_control", enough, f"given back after {ignored_s:.3f} s"
            return
        if self._is_checked:
            kept = ignored_s < _IGNORES_S + _LATE_S
            yield "disobedience_ends_control", kept, f"control is kept after {ignored_s:.3f} s"
        elif now_ns - self._taken_ns >= _BRAKES_S * NS_PER_S:
            self._is_foreign = now_ns - self._strained_ns < (_STRAINED_S - _LATE_S) * NS_PER_S
            self._is_checked = now_ns - self._seen_ns < _STRAINED_S * NS_PER_S

    def _following(self, now_ns: int) -> Iterator[tuple[str, bool, object]]:
        newest = self._newest
        yield "rest_mode_first", self._rested, "no command in the rest mode has arrived"
        if newest is not None:
            age_ns = now_ns - newest.received_ns
            yield "expired_is_not_followed", age_ns < newest.valid_for_ns, f"{age_ns} ns"
        fresh, fault = self._robot.reception.fresh(now_ns), self._robot.fault()
        yield "lost_robot_is_not_followed", fresh and not fault, fault or "the state is old"

    def _followed(self, values: F64) -> Iterator[tuple[str, bool, object]]:
        command, state = self._newest, self._robot.reception.state
        if command is None or state is None:
            yield "newest_is_followed", False, "there is none"
            return
        limit = np.minimum(command.effort_limit, self._figures.largest_torque_nm)
        demand = np.maximum(np.abs(_law_torque(command.values, state)), _ROUNDING_NM)
        gains = command.values[:, [STIFFNESS, DAMPING]].sum(axis=1) * np.minimum(limit / demand, 1)
        resting = (values == self._robot.rest(state)).all(axis=1) & (gains < _CARRYING + _ROUNDING)
        same = (values[:, POSITION] == command.values[:, POSITION]) | resting
        yield "newest_is_followed", bool(same.all()), values[:, POSITION]
        excess = np.abs(_law_torque(values, state)) - limit
        within = bool((excess <= _ROUNDING_NM)[~resting].all())
        yield "torque_in_limits", within, f"{excess.max():.3f} N m more"
        carries = (values[:, [STIFFNESS, DAMPING]].sum(axis=1) >= _CARRYING) | resting
        yield "no_joint_is_limp", self._figures.may_be_limp or bool(carries.all()), values
        limp = (self._stiffness == 0.0) & ~resting
        begins = limp & (values[:, STIFFNESS] > 0.0)
        # a joint that had stiffness when this command arrived is pushed in all further frames
        is_new, self._followed_command = command is not self._followed_command, command
        pushed = limp & (self._at_rest | is_new)
        error = np.abs(values[:, POSITION] - state.joint_pos)[begins].max(initial=0.0)
        push = np.abs(values[:, DAMPING] * values[:, VELOCITY] + values[:, EFFORT])[pushed]
        is_soft = (
            error <= self._robot.settings.max_start_error_rad + _MOVED_RAD
            and push.max(initial=0.0) <= self._figures.first_torque_nm + _ROUNDING_NM
        )
        yield "starts_at_the_robot", is_soft, f"{error:.3f} rad, {push} N m"
        self._stiffness, self._at_rest = values[:, STIFFNESS], resting

    def _is_rest(self, values: F64) -> bool:
        if self._figures.rest_mode == MODE_DAMP:
            return not values[:, STIFFNESS].any()
        # Rest is the pose in which it began.
        return True


class HeardWatch:
    """Checks the invariants of the frames a robot double receives and of its driver's statuses."""

    checked: ClassVar[Counter[str]] = Counter()

    def __init__(self, figures: Callable[[], DriveFigures]) -> None:
        """Start with a robot that has received no frames.

        Args:
            figures: Returns the figures of the robot's drives, in the order of its joints.
        """
        self._figures = figures
        self._sent: deque[tuple[float, JointCommand | None]] = deque()
        """Commands sent since the newest checked frame, with their times; None is a request for
        control.
        """
        self._place, self._asked_s, self._given_back_s = 0, np.inf, -np.inf
        self._rested, self._valid_until_s = False, -np.inf
        self._counts: dict[str, dict[str, int]] = {}
        self._pressed_s: dict[str, float] = {}
        """Stamp of the first status that shows the e-stop pressed, by driver; inf if none does."""

    def sent(self, command: JointCommand | None) -> None:
        """Record a command that is about to be sent; None for a request for control."""
        self._sent.append((time.monotonic(), command))

    def see(
        self, heard: Sequence[Heard], driver: str, statuses: Sequence[RobotStatus]
    ) -> Iterator[tuple[str, str]]:
        """Yield each invariant that frames or statuses violated, with what was found.

        Args:
            heard: All frames so far; those from earlier calls are skipped.
            driver: Name of the driver that published the statuses.
            statuses: Statuses since the last call.
        """
        frames, self._place = heard[self._place :], len(heard)
        found = chain(
            chain.from_iterable(map(self._heard, frames)),
            chain.from_iterable(self._reported(driver, each) for each in statuses),
        )
        for name, holds, what in found:
            self.checked[name] += 1
            if not holds:
                yield name, str(what)

    def _heard(self, frame: Heard) -> Iterator[tuple[str, bool, object]]:
        while self._sent and self._sent[0][0] < frame.at_s:
            sent_s, command = self._sent.popleft()
            if command is None:
                self._asked_s = sent_s
                continue
            valid_s = command.valid_for.sec + command.valid_for.nanosec / NS_PER_S
            self._valid_until_s = max(self._valid_until_s, sent_s + valid_s)
            self._rested |= command.mode == self._figures().rest_mode
        if frame.what == GIVEN_BACK:
            self._given_back_s, self._rested = frame.at_s, False
        if frame.what != COMMANDED or frame.values is None:
            return
        yield "nothing_sent_unasked", self._asked_s < frame.at_s, "control was not requested"
        after_s = frame.at_s - self._given_back_s
        yield "nothing_sent_after", self._asked_s > self._given_back_s, f"{after_s:.3f} s after"
        yield from frame_problems(frame.values, self._figures(), rests=frame.rests)
        if not frame.rests:
            yield "rest_mode_first", self._rested, "no command in the rest mode was sent"
            # A driver that is asked to give back control may first lower the robot.
            late_s = frame.at_s - self._valid_until_s - self._figures().lower_s
            yield "expired_is_not_followed", late_s < _BUSY_S, f"{late_s:.3f} s after its end"

    def _reported(self, driver: str, status: RobotStatus) -> Iterator[tuple[str, bool, object]]:
        yield "driver_changes_have_reasons", bool(status.reason), f"state {status.state}"
        follows = status.state == DriverPhase.FOLLOWING
        pressed = any(PRESSED in each for each in status.obstacles)
        stamp_s = status.stamp.sec + status.stamp.nanosec / NS_PER_S
        since_s = min(self._pressed_s.get(driver, np.inf), stamp_s) if pressed else np.inf
        self._pressed_s[driver] = since_s
        # The state is the link process's, which learns of the e-stop a moment later.
        late = stamp_s - since_s >= _BUSY_S
        yield "estop_is_not_followed", not (follows and late), status.reason
        counts = {
            entry.key: int(entry.value)
            for entry in status.details
            if entry.key.startswith("command_") and entry.value.isdigit()
        }
        before = self._counts.get(driver, {})
        fallen = [name for name, count in counts.items() if count < before.get(name, 0)]
        yield "counts_never_fall", not fallen, ", ".join(fallen)
        self._counts[driver] = counts
