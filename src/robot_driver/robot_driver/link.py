# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""State machine of a driver, without I/O or a clock: decides what the robot receives, and when."""

from collections import deque
from typing import Generic

import numpy as np

from robot_driver.checks import range_problems
from robot_driver.following import CommandAcknowledgement, Follower, drive_values, rest_mode_name
from robot_driver.interfaces import (
    F64,
    MODE_DAMP,
    NS_PER_S,
    RELEASE,
    TAKE,
    DriverAnswer,
    DriverPhase,
    DriverReport,
    WireCommand,
)
from robot_driver.reception import Rate, Source, StateT
from robot_driver.robot import RobotInterface

_ROBOT_GONE_S = 1.0
_IDLE_NS = 50_000_000
_LATENCIES_KEPT = 1000
_IN_CONTROL = (DriverPhase.FOLLOWING, DriverPhase.DAMPING)


class Link(Generic[StateT]):
    """A driver's state machine. `now_ns` is from the same monotonic clock in every call.

    Its inputs are `receive`, `follow`, `take`, `release` and `damp`. Call `step` after each of
    them, and by `next_ns` at the latest; it returns the datagrams to send.

    Attributes:
        phase: See `state` in policy_msgs/RobotStatus.
        next_ns: Time by which `step` must be called again.
    """

    def __init__(self, robot: RobotInterface[StateT], now_ns: int) -> None:
        """Start by listening; nothing is sent before control is requested."""
        self.phase, self._reason = DriverPhase.LISTENING, "control has not been requested"
        self.next_ns = now_ns
        settings, figures = robot.settings, robot.figures
        self._robot, self._figures = robot, figures
        self._reception = robot.reception
        self._follower = Follower(figures, settings.max_start_error_rad)
        self._period_ns = round(NS_PER_S / settings.command_rate_hz)
        self._since_ns = now_ns
        """Time at which the phase, or the rest after lowering, began."""
        self._later_fault = ""
        """First fault after following ended; later ones are not shown, so that a fault that comes
        and goes does not flood the status.
        """
        self._resting: F64 | None = None
        """Values that bring the robot to rest, kept while it rests; None while it follows."""
        self._acknowledgement = CommandAcknowledgement(
            figures, settings.obeyed_torque_nm, robot.host
        )
        self._sent: F64 | None = None
        """Values last sent to the drives since control was taken."""
        self._lowered_from: F64 | None = None
        """Last values sent before the lowering; None unless the robot is being lowered."""
        self._outbox: list[bytes] = []
        self._answers: list[DriverAnswer] = []
        self._command_rate = Rate()
        self._latencies_ns: deque[int] = deque(maxlen=_LATENCIES_KEPT)
        self._sent_ns: int | None = None
        self._largest_gap_ns = 0
        self._unsent: WireCommand | None = None
        self._due = False
        self._counts = {"send_failed": 0}
        self._send_error = ""

    def receive(self, data: bytes, source: Source, now_ns: int) -> StateT | None:
        """Process a datagram; return its state if it is the robot's newest, otherwise None."""
        state = self._reception.receive(data, source, now_ns)
        if state is not None:
            if self._reception.restarted and self.phase is not DriverPhase.LISTENING:
                # a restarted robot no longer knows its controller
                self.release(
                    f"{self._robot.host} has been restarted; request control again", now_ns
                )
            self._robot.see(state, now_ns)
            self._acknowledgement.see(state, self._sent, now_ns)
        return state

    def follow(self, command: WireCommand, now_ns: int) -> None:
        """Process a command; if it may be followed, it is sent at once, and then repeated."""
        if self.phase not in _IN_CONTROL:
            self._follower.notice(command)
            return
        self._follower.follow(command, self._reception.state)
        if self._acknowledgement.known and self._follower.valid(now_ns) is command:
            self._unsent, self.next_ns = command, now_ns

    def take(self, obstacles: tuple[str, ...], now_ns: int) -> None:
        """Prepare the robot and then take control, unless there are reasons to refuse."""
        against = [*self.obstacles(now_ns), *obstacles]
        if self.phase is not DriverPhase.LISTENING:
            against.insert(
                0,
                f"control is already taken, or being taken or given back: {self.phase.name}, "
                f"{self.reason}",
            )
        if against:
            self._answer(TAKE, "; ".join(against))
            return
        self._enter(DriverPhase.TAKING, f"the robot {self._robot.preparing}", now_ns)
        self._acknowledgement.known, self._sent, self._resting = False, None, None
        self._outbox += self._robot.prepare()

    def release(self, reason: str, now_ns: int) -> None:
        """Brake, then give control back; works in any phase and is never refused."""
        if self.phase is DriverPhase.LISTENING:
            self._answer(RELEASE, success="this driver is not in control of the robot")
        elif self.phase is not DriverPhase.RELEASING:
            if self.phase is DriverPhase.TAKING:
                if not self._robot.stopped_by_taking:
                    self._leave(reason, now_ns)
                    return
                # Only the controller in charge can stop a robot that is being prepared.
                self._seize()
            follows = self.phase is DriverPhase.FOLLOWING and self._figures.lower_s > 0.0
            self._lowered_from = self._sent if follows else None
            if not self._acknowledgement.known:
                rest_s = self._figures.rest_s
                rest = f"the robot has {rest_s:g} s to come to rest, then " if rest_s else ""
                self._answer(TAKE, f"{reason}; {rest}control is given back")
            self._enter(DriverPhase.RELEASING, reason, now_ns)

    def damp(self, reason: str, now_ns: int) -> None:
        """Bring the robot to rest; follow nothing until a command in the rest mode arrives.

        This also ends any attempt to take control.
        """
        self._follower.hold(reason)
        if self._lowered_from is not None:
            self._rest_from(now_ns)
        self.next_ns = now_ns
        if self.phase is DriverPhase.TAKING:
            self.release(reason, now_ns)

    def step(self, now_ns: int) -> list[bytes]:
        """Return the datagrams to send now, in this order."""
        if self.phase is DriverPhase.TAKING:
            self._watch_preparation(now_ns)
        elif self.phase is not DriverPhase.LISTENING and (reason := self._robot.taken_back()):
            self._lose_control(f"{self._robot.host} has taken back control: {reason}", now_ns)
        elif self.phase in _IN_CONTROL:
            self._watch_control(now_ns)
        elif self.phase is DriverPhase.RELEASING:
            if self._lowered_from is not None:
                self._watch_lowering(now_ns)
            elif now_ns - self._since_ns >= self._figures.rest_s * NS_PER_S:
                self._leave(self._reason, now_ns)
        out, self._outbox = self._outbox, []
        if self.phase in (DriverPhase.LISTENING, DriverPhase.TAKING):
            self.next_ns = now_ns + _IDLE_NS
        elif now_ns >= self.next_ns:
            out.append(self._frame(now_ns))
            self._due = True
            # A command between two frames, or the end of a stall, restarts the period.
            self.next_ns += self._period_ns
            if self.next_ns <= now_ns or self._unsent is not None:
                self.next_ns = now_ns + self._period_ns
        return out

    def sent(self, now_ns: int) -> None:
        """Record that the datagrams from `step` have been sent."""
        if not self._due:
            return
        self._due = False
        self._command_rate.add(now_ns)
        if self._sent_ns is not None:
            self._largest_gap_ns = max(self._largest_gap_ns, now_ns - self._sent_ns)
        self._sent_ns = now_ns
        if self._unsent is not None:
            self._latencies_ns.append(now_ns - self._unsent.received_ns)
            self._unsent = None

    def failed(self, error: str, now_ns: int) -> None:
        """Record that sending failed, or that the transport reported an error."""
        self._due = False
        self._counts["send_failed"] += 1
        self._send_error = error
        if self.phase is DriverPhase.TAKING:
            self.release(f"nothing can be sent to {self._robot.host}: {error}", now_ns)

    def obstacles(self, now_ns: int) -> list[str]:
        """Return the reasons to refuse control, as sentences; always empty unless LISTENING."""
        return self._robot_obstacles(now_ns) if self.phase is DriverPhase.LISTENING else []

    def report(self, now_ns: int) -> DriverReport:
        """Return the current report, with the oldest answer not yet delivered to the node."""
        reception, state = self._reception, self._reception.state
        latencies_ns = self._latencies_ns or (0,)
        median_s, high_s = (np.percentile(latencies_ns, (50, 99)) / NS_PER_S).tolist()
        return DriverReport(
            phase=self.phase,
            reason=self.reason,
            obstacles=tuple(self.obstacles(now_ns)),
            state_rate_hz=reception.rate.value_hz(now_ns),
            command_rate_hz=self._command_rate.value_hz(now_ns),
            largest_gap_s=self._largest_gap_ns / NS_PER_S,
            latency_p50_s=median_s,
            latency_p99_s=high_s,
            temperature_c=() if state is None else tuple(state.temperature_c.tolist()),
            details={**self.counts, **self._notes()},
            answer=self._answers[0] if self._answers else None,
        )

    @property
    def reason(self) -> str:
        if self.phase is DriverPhase.FOLLOWING:
            newest = self._follower.newest
            rests = newest is not None and newest.mode == self._figures.rest_mode
            what = "damps" if self._figures.rest_mode == MODE_DAMP else "holds"
            follows = "the driver follows the newest joint_command" + (
                f", which {what}" if rests else ""
            )
            return "; ".join(filter(None, [follows, self._robot.warning()]))
        if self.phase is not DriverPhase.DAMPING:
            return self._reason
        if not self._acknowledgement.known:
            return f"checking whether {self._robot.host} follows commands"
        latch, mode = self._follower.latch, rest_mode_name(self._figures)
        later = f"; {self._later_fault}" if self._later_fault else ""
        return f"{latch}{later}; waiting for a command in {mode}"

    @property
    def counts(self) -> dict[str, int]:
        """Counters of states and commands since the start, by name."""
        return {**self._reception.counts, **self._follower.counts, **self._counts}

    @property
    def newest(self) -> WireCommand | None:
        """The newest valid command, followed or not; None if there is none."""
        return self._follower.newest

    @property
    def answers_wait(self) -> bool:
        return bool(self._answers)

    def answer_delivered(self) -> None:
        self._answers[:1] = []

    def _robot_obstacles(self, now_ns: int) -> list[str]:
        reception, figures = self._reception, self._figures
        state = reception.state
        if state is None or not reception.fresh(now_ns):
            return [reception.silence(now_ns)]
        against = []
        rate_hz, (lowest_hz, highest_hz) = reception.rate.value_hz(now_ns), figures.state_rate_hz
        if not lowest_hz <= rate_hz <= highest_hz:
            against.append(
                f"{rate_hz:.0f} state frames arrived in the last second, expected "
                f"{lowest_hz:.0f}..{highest_hz:.0f} at {self._robot.place}: is this computer "
                "(docs/performance.md, On a robot) or the connection to the robot too busy?"
            )
        newest = self._follower.unexpired(now_ns)
        if newest is not None and newest.mode != figures.rest_mode:
            against.append(
                f"the sender of joint_command is not in {rest_mode_name(figures)}: ask it to damp "
                "first"
            )
        unfit = self._follower.sender_problem(now_ns)
        return [
            *against,
            *([unfit] if unfit else []),
            *range_problems(state.joint_pos, figures),
            *self._robot.obstacles(now_ns),
        ]

    def _watch_preparation(self, now_ns: int) -> None:
        robot = self._robot
        if self._reception.age_s(now_ns) > _ROBOT_GONE_S:
            self.release(
                f"while the robot {robot.prepared}, {self._reception.silence(now_ns)}", now_ns
            )
            return
        out = robot.await_ready((now_ns - self._since_ns) / NS_PER_S)
        if out is not None:
            self._outbox += out
            return
        against = self._robot_obstacles(now_ns)
        if against:
            self.release(f"after the robot {robot.prepared}: " + "; ".join(against), now_ns)
            return
        self._seize()
        self._acknowledgement.begin(now_ns)
        self._follower.hold("control has been taken")
        self._later_fault = ""
        self._enter(DriverPhase.DAMPING, "", now_ns)

    def _seize(self) -> None:
        self._outbox += self._robot.take()
        self._sent_ns, self._largest_gap_ns = None, 0

    def _leave(self, reason: str, now_ns: int) -> None:
        """Give control back, or end the preparation if control has not been taken yet."""
        if self.phase is DriverPhase.TAKING:
            self._answer(TAKE, f"{reason}; control was not taken")
        given_back = self._robot.given_back
        self._outbox += self._robot.give_back()
        self._enter(DriverPhase.LISTENING, f"control was given back: {reason}", now_ns)
        self._answer(RELEASE, success=given_back)

    def _lose_control(self, reason: str, now_ns: int) -> None:
        """Stop sending at once, because the robot is no longer under control."""
        if not self._acknowledgement.known:
            self._answer(TAKE, reason)
        self._outbox.clear()
        self._enter(DriverPhase.LISTENING, reason, now_ns)
        self._answer(RELEASE, success=reason)

    def _watch_lowering(self, now_ns: int) -> None:
        """Bring the robot to rest if it can no longer be lowered; the time at rest then starts."""
        elapsed_ns = now_ns - self._since_ns
        late = elapsed_ns > self._figures.lower_s * NS_PER_S
        if late or not self._reception.fresh(now_ns) or self._robot.fault():
            self._rest_from(now_ns)

    def _rest_from(self, now_ns: int) -> None:
        self._lowered_from, self._since_ns = None, now_ns

    def _watch_control(self, now_ns: int) -> None:
        follower, acknowledgement = self._follower, self._acknowledgement
        fault = "" if self._reception.fresh(now_ns) else "no recent state from the robot"
        fault = fault or self._robot.fault()
        if follower.latch is None:
            self._later_fault = ""
            if fault:
                follower.hold(fault)
                self.next_ns = now_ns
        elif fault != follower.latch:
            self._later_fault = self._later_fault or fault
        was_known, problem = acknowledgement.known, acknowledgement.problem(now_ns)
        if acknowledgement.known and not was_known:
            self._answer(
                TAKE,
                success="in control; commands are followed, starting with one in "
                f"{rest_mode_name(self._figures)}",
            )
        valid = follower.valid(now_ns) if acknowledgement.known else None
        self.phase = DriverPhase.DAMPING if valid is None else DriverPhase.FOLLOWING
        gap_s = 0.0 if self._sent_ns is None else (now_ns - self._sent_ns) / NS_PER_S
        if gap_s >= self._figures.watchdog_s:
            self.release(
                f"no command was sent for {gap_s:.1f} s: {self._robot.host} has taken back "
                "control; request it again",
                now_ns,
            )
        elif self._reception.age_s(now_ns) > _ROBOT_GONE_S:
            self.release(self._reception.silence(now_ns), now_ns)
        elif problem:
            self.release(problem, now_ns)
        if self.phase in _IN_CONTROL:
            self._outbox += self._robot.keep_control(now_ns)

    def _frame(self, now_ns: int) -> bytes:
        if self._lowered_from is not None:
            elapsed_s = (now_ns - self._since_ns) / NS_PER_S
            lowered = self._robot.lower(self._lowered_from, elapsed_s)
            if lowered is not None:
                self._sent = lowered
                return self._robot.encode(lowered)
            self._rest_from(now_ns)
        following = self.phase is DriverPhase.FOLLOWING
        command = self._follower.valid(now_ns) if following else None
        state = self._reception.state
        if command is None or state is None:
            if self._resting is None:
                self._resting = self._robot.rest(state)
            self._sent = self._resting
        else:
            self._resting = None
            rest = None if self._figures.may_be_limp else self._robot.rest(state)
            self._sent = drive_values(command, state, self._figures.largest_torque_nm, rest)
        return self._robot.encode(self._sent)

    def _enter(self, phase: DriverPhase, reason: str, now_ns: int) -> None:
        self.phase, self._reason = phase, reason
        self._since_ns = self.next_ns = now_ns

    def _answer(self, request: str, failure: str = "", *, success: str = "") -> None:
        self._answers.append(
            DriverAnswer(request=request, success=not failure, message=failure or success)
        )

    def _notes(self) -> dict[str, str | float]:
        """Return the details that are not counters and that have a value."""
        notes = self._robot.notes()
        if warning := self._robot.warning():
            notes["warning"] = warning
        if self._send_error:
            notes["send_error"] = self._send_error
        if self._follower.refusal:
            notes["command_refusal"] = self._follower.refusal
        return notes
