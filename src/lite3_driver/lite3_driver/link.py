# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Who is in control of the robot, and what is sent to it when: no sockets, no clock."""

from lite3_driver import wire
from lite3_driver.checks import Stillness, YawRate, pose_problems
from lite3_driver.following import MODE_DAMP, Follower, drive_values
from lite3_driver.interfaces import RELEASE, TAKE, Answer, Command, Phase, Report, Settings
from lite3_driver.meters import NS_PER_S, Latencies, Rate
from lite3_driver.obedience import Obedience
from lite3_driver.reception import Reception
from lite3_driver.wire import F64, State

FAREWELL_S = 2.0
"""How long the drives are braked before control is given back, as by the vendor's client."""
_HOST_GONE_S = 1.0
_HOST_WAITS_S = 1.0
"""Of the watchdogs that documents tell of, the longest: then the host has control again."""
_LOWEST_RATE_HZ, _HIGHEST_RATE_HZ = 200.0, 5000.0
_IDLE_NS = 50_000_000
_IN_CONTROL = (Phase.FOLLOWING, Phase.DAMPING)


class Link:
    """The state machine of the driver. `now_ns` is steady time, the same in every call.

    `receive`, `follow`, `take`, `release`, `damp` tell it what happens; `step` is to be called
    after each of them and at `next_ns` at the latest, and returns what to send.

    Attributes:
        phase: As `state` in policy_msgs/RobotStatus.
        next_ns: When `step` has something to do again.
    """

    def __init__(self, settings: Settings, now_ns: int) -> None:
        """Listen; nothing is sent before control is asked for."""
        self.phase, self._reason = Phase.LISTENING, "control has not been asked for"
        self.next_ns = now_ns
        self._settings = settings
        self.reception, self.follower = Reception(settings), Follower(settings)
        self._stillness, self._yaw_rate = Stillness(), YawRate()
        self._period_ns = round(NS_PER_S / settings.command_rate_hz)
        self._since_ns = now_ns
        """When the robot began to fold, when control was taken, or when the farewell began."""
        self._braking = wire.braking(settings.damping)
        self._braking_frame = wire.command(self._braking)
        self._obedience = Obedience(settings.obeyed_torque_nm)
        self._sent: F64 | None = None
        """What the drives were sent last, since control was taken."""
        self._outbox: list[bytes] = []
        self._answers: list[Answer] = []
        self._command_rate, self._latencies = Rate(), Latencies()
        self._sent_ns: int | None = None
        self._largest_gap_ns = 0
        self._unsent: Command | None = None
        self._due = False
        self._counts = {"send_failed": 0}
        self._send_error = ""

    def receive(self, data: bytes, source: tuple[str, int], now_ns: int) -> State | None:
        """Take a datagram; return the state that is in it, where it is the robot's newest."""
        state = self.reception.receive(data, source, now_ns)
        if state is not None:
            if self.reception.restarted and self.phase is not Phase.LISTENING:
                # It no longer knows whom to obey.
                self.release("the motion host has been restarted; ask for control again", now_ns)
            self._stillness.see(state, now_ns)
            self._yaw_rate.see(state)
            self._obedience.see(state, self._sent, now_ns)
        return state

    def follow(self, command: Command, now_ns: int) -> None:
        """Take a command; where it may be followed, it is sent at once and then again."""
        if self.phase not in _IN_CONTROL:
            self.follower.notice(command)
            return
        self.follower.follow(command, self.reception.state)
        if self._obedience.known and self.follower.valid(now_ns) is command:
            self._unsent, self.next_ns = command, now_ns

    def take(self, obstacles: tuple[str, ...], now_ns: int) -> None:
        """Let the robot fold its legs, then take control, unless something speaks against it."""
        against = [*self.obstacles(now_ns), *obstacles]
        if self.phase is not Phase.LISTENING:
            against.insert(0, "control is taken, or given back, already: "
                           f"{self.phase.name}, {self.reason}")
        if against:
            self._answer(TAKE, "; ".join(against))
            return
        self._enter(Phase.TAKING, "the robot folds its legs", now_ns)
        self._obedience.known, self._sent = False, None
        self._outbox.append(wire.request(wire.FOLD))

    def release(self, reason: str, now_ns: int) -> None:
        """Brake, give control back after a while; from any phase, and never refused."""
        if self.phase is Phase.LISTENING:
            self._answer(RELEASE, success="the robot's own controller is in charge")
        elif self.phase is not Phase.RELEASING:
            if self.phase is Phase.TAKING:
                # Legs that fold are stopped by whoever has control, and by nothing else.
                self._seize()
            if not self._obedience.known:
                self._answer(TAKE, f"{reason}; the drives are told to brake for {FAREWELL_S:.0f} "
                                   "s, then control is given back")
            self._enter(Phase.RELEASING, reason, now_ns)

    def damp(self, reason: str, now_ns: int) -> None:
        """Brake, and follow nothing until a command in MODE_DAMP has come; ends a fold."""
        self.follower.hold(reason)
        self.next_ns = now_ns
        if self.phase is Phase.TAKING:
            self.release(reason, now_ns)

    def step(self, now_ns: int) -> list[bytes]:
        """Return the datagrams to be sent now, in this order."""
        if self.phase is Phase.TAKING:
            self._watch_fold(now_ns)
        elif self.phase in _IN_CONTROL:
            self._watch_control(now_ns)
        elif self.phase is Phase.RELEASING and now_ns - self._since_ns >= FAREWELL_S * NS_PER_S:
            self._outbox.append(wire.request(wire.GIVE_BACK))
            self._enter(Phase.LISTENING, f"control was given back: {self._reason}", now_ns)
            self._answer(RELEASE, success="control was given back")
        out, self._outbox = self._outbox, []
        if self.phase in (Phase.LISTENING, Phase.TAKING):
            self.next_ns = now_ns + _IDLE_NS
        elif now_ns >= self.next_ns:
            out.append(self._frame(now_ns))
            self._due = True
            # From a command that came between two frames, or after a stall, time begins anew.
            self.next_ns += self._period_ns
            if self.next_ns <= now_ns or self._unsent is not None:
                self.next_ns = now_ns + self._period_ns
        return out

    def sent(self, now_ns: int) -> None:
        """Note that what `step` returned is on its way."""
        if not self._due:
            return
        self._due = False
        self._command_rate.add(now_ns)
        if self._sent_ns is not None:
            self._largest_gap_ns = max(self._largest_gap_ns, now_ns - self._sent_ns)
        self._sent_ns = now_ns
        if self._unsent is not None:
            self._latencies.add(now_ns - self._unsent.received_ns)
            self._unsent = None

    def failed(self, error: str, now_ns: int) -> None:
        """Note that something could not be sent, or that the host refused it."""
        self._due = False
        self._counts["send_failed"] += 1
        self._send_error = error
        if self.phase is Phase.TAKING:
            self.release(f"nothing can be sent to the host: {error}", now_ns)

    def obstacles(self, now_ns: int) -> list[str]:
        """Return what speaks against taking control, a sentence each; nothing while it is taken."""
        return self._robot_obstacles(now_ns) if self.phase is Phase.LISTENING else []

    def report(self, now_ns: int) -> Report:
        """Return how things are, with the oldest answer that has not been told."""
        reception, state = self.reception, self.reception.state
        median_s, high_s = self._latencies.percentiles_s()
        return Report(
            phase=self.phase, reason=self.reason, obstacles=tuple(self.obstacles(now_ns)),
            state_rate_hz=reception.rate.value_hz(now_ns),
            command_rate_hz=self._command_rate.value_hz(now_ns),
            largest_gap_s=self._largest_gap_ns / NS_PER_S,
            latency_p50_s=median_s, latency_p99_s=high_s,
            temperature_c=() if state is None else tuple(state.temperature_c.tolist()),
            details={**reception.counts, **self.follower.counts, **self._counts, **self._notes()},
            answer=self._answers[0] if self._answers else None)

    @property
    def reason(self) -> str:
        """Why it is in this phase."""
        if self.phase is Phase.FOLLOWING:
            newest = self.follower.newest
            damps = newest is not None and newest.mode == MODE_DAMP
            return "the newest joint_command is followed" + (", which damps" if damps else "")
        if self.phase is not Phase.DAMPING:
            return self._reason
        if not self._obedience.known:
            return "it is found out whether the host obeys"
        return f"{self.follower.latch}; a command in MODE_DAMP is waited for"

    @property
    def answers_wait(self) -> bool:
        """Whether `report` has an answer to tell."""
        return bool(self._answers)

    def answer_told(self) -> None:
        """Note that the latest report has reached the node."""
        self._answers[:1] = []

    def _robot_obstacles(self, now_ns: int) -> list[str]:
        reception, state = self.reception, self.reception.state
        if state is None or not reception.fresh(now_ns):
            return [self.reception.silence(now_ns)]
        against = []
        rate_hz = reception.rate.value_hz(now_ns)
        if not _LOWEST_RATE_HZ <= rate_hz <= _HIGHEST_RATE_HZ:
            against.append(f"{rate_hz:.0f} state frames came in the last second, expected "
                           f"{_LOWEST_RATE_HZ:.0f}..{_HIGHEST_RATE_HZ:.0f}")
        settings, newest = self._settings, self.follower.unexpired(now_ns)
        if newest is not None and newest.mode != MODE_DAMP:
            against.append("the sender of joint_command is not in MODE_DAMP: ask it to damp first")
        return [*against, *pose_problems(state), *self._stillness.problems(now_ns),
                *self._yaw_rate.problems(unit=settings.angular_velocity_unit,
                                         waived=settings.angular_velocity_checked)]

    def _watch_fold(self, now_ns: int) -> None:
        if self.reception.age_s(now_ns) > _HOST_GONE_S:
            self.release(f"while it folded, {self.reception.silence(now_ns)}", now_ns)
        elif now_ns - self._since_ns >= self._settings.fold_s * NS_PER_S:
            against = self._robot_obstacles(now_ns)
            if against:
                self.release("after it folded: " + "; ".join(against), now_ns)
                return
            self._seize()
            self._obedience.begin(now_ns)
            self.follower.hold("control has been taken")
            self._enter(Phase.DAMPING, "", now_ns)

    def _seize(self) -> None:
        # Twice at the same instant, as the vendor's client does it: nothing is ever answered.
        self._outbox += [wire.request(wire.TAKE_CONTROL)] * 2
        self._sent_ns, self._largest_gap_ns = None, 0

    def _watch_control(self, now_ns: int) -> None:
        age_s = self.reception.age_s(now_ns)
        if not self.reception.fresh(now_ns) and self.follower.latch is None:
            self.follower.hold("the robot's state has been lost")
            self.next_ns = now_ns
        if self._yaw_rate.other_unit and self.follower.latch is None:
            self.follower.hold("while the robot turned, its angular velocity was that of another "
                               "unit (angular_velocity_unit)")
            self.next_ns = now_ns
        was_known, problem = self._obedience.known, self._obedience.problem(now_ns)
        if self._obedience.known and not was_known:
            self._answer(TAKE, success="in control; commands are followed from one in MODE_DAMP on")
        valid = self.follower.valid(now_ns) if self._obedience.known else None
        self.phase = Phase.DAMPING if valid is None else Phase.FOLLOWING
        gap_s = 0.0 if self._sent_ns is None else (now_ns - self._sent_ns) / NS_PER_S
        if gap_s >= _HOST_WAITS_S:
            self.release(f"no command has gone out for {gap_s:.1f} s: the host has taken control "
                         "back by itself; ask for it again", now_ns)
        elif age_s > _HOST_GONE_S:
            self.release(self.reception.silence(now_ns), now_ns)
        elif problem:
            self.release(problem, now_ns)

    def _frame(self, now_ns: int) -> bytes:
        command = self.follower.valid(now_ns) if self.phase is Phase.FOLLOWING else None
        state = self.reception.state
        if command is None or state is None:
            self._sent = self._braking
            return self._braking_frame
        self._sent = drive_values(command, state, self._settings.damping)
        return wire.command(self._sent)

    def _enter(self, phase: Phase, reason: str, now_ns: int) -> None:
        self.phase, self._reason = phase, reason
        self._since_ns = self.next_ns = now_ns

    def _answer(self, request: str, failure: str = "", *, success: str = "") -> None:
        self._answers.append(Answer(request=request, success=not failure,
                                    message=failure or success))

    def _notes(self) -> dict[str, str | float]:
        """Return the details that are no counters and that there are."""
        notes: dict[str, str | float] = {}
        if self._yaw_rate.ratio is not None:
            notes["yaw_rate_ratio"] = self._yaw_rate.ratio
        if self._send_error:
            notes["send_error"] = self._send_error
        if self.follower.refusal:
            notes["command_refusal"] = self.follower.refusal
        return notes
