# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The real controller of a policy, driven by recorded ticks instead of a robot.

Messages, ages, requests and what the policy's model answered come from the recording, each in the
tick in which it came on the robot. All else is computed: state, observation, target, bounds, modes
and commands.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from model_tools.errors import ToolError
from model_tools.prove.replaying.recorded_inputs import Recorded
from model_tools.prove.replaying.recorded_policy import RecordedClock, ReplayedPolicy
from model_tools.prove.replaying.recorded_ticks import RecordedTick
from policy_core.bundle.body import Body
from policy_core.bundle.state_fields import COMMAND, JOINT_STATES, velocity_of
from policy_core.control.controller import ControllerState
from policy_core.errors import RefusedError, RobotError
from policy_core.guard.bounds import Rule
from policy_core.interfaces import F64, JointTargets, Mode, OnFault
from policy_core.observation.state import StateVector
from policy_inference.messages.readers import JointStateReader, stamp_ns, state_reader

_LONG_NS = 3_600_000_000_000
_FROM_OUTSIDE = (Rule.INTERNAL, Rule.TRIAL)
"""Rules that others than the controller find broken."""
_ROUNDING_NS = 1_000
"""Ages are recorded in seconds."""


class ReplayedRobot:
    """A controller from the first tick that it can begin at; make a new one to begin again.

    Attributes:
        policy, controller: The real ones.
        targets: What it commanded last.
        refused: Why it refused a request that was granted on the robot; empty where it did not.
        seen: Inputs of which a message was read.
        settled: Whether its mode was computed; False where only the recording says why it changed.
    """

    def __init__(
        self,
        body: Body,
        recorded: Recorded,
        make: Callable[[RecordedClock], ReplayedPolicy],
        before: ReplayedRobot | None = None,
    ) -> None:
        """Make a controller in DAMP.

        Args:
            body: The robot's side of the contract.
            recorded: Where the values of the recording are.
            make: Makes the policy, which remembers nothing, with its controller.
            before: Its messages are known; None knows of no message.
        """
        self._recorded, self._period_ns = recorded, body.period_ns
        self.clock = RecordedClock()
        self.policy = make(self.clock)
        self.controller = controller = self.policy.controller
        names = body.joints.on_robot()
        self._readers = {
            name: None if name == COMMAND else state_reader(name, names, controller.state)
            for name in controller.inputs
            if name not in self.policy.outside
        }
        # The recording says which samples were believed; what the check makes of them matters
        # where a pose is held.
        sampled = StateVector(
            {
                name: len(names)
                for name in ("joint_pos", "joint_vel")
                if name in controller.state.slices
            }
        )
        self._checked = JointStateReader(names, sampled, controller.joint_check)
        self.targets: JointTargets | None = None
        self.refused, self.settled = "", True
        self.seen = set[str]()
        self._held_late = self._clips_known = False
        controller.start()
        if before is not None:
            self._continue_from(before)

    def _continue_from(self, before: ReplayedRobot) -> None:
        controller, old = self.controller, before.controller
        self.seen = before.seen
        controller.state.continue_from(old.state)
        controller.command.continue_from(old.command)
        controller.joint_check.continue_from(old.joint_check)
        for name, entry in controller.inputs.items():
            entry.continue_from(old.inputs[name])

    def begin_at(self, tick: RecordedTick, mode: Mode) -> bool:
        """Begin before a tick, in the mode of `beginning`; return whether that is possible."""
        if mode is Mode.RUN and not self.policy.join(tick):
            return False
        self._take_over(tick, mode, tick.time_ns - self._period_ns)
        if tick.requests:
            # They were granted, by a state and ages that the tick nearly has.
            self._recorded.write(tick, self.policy.state.flat)
            for entry in self.controller.inputs.values():
                entry.accept(tick.time_ns)
        if mode is Mode.DAMP:
            reason = tick.reason.partition(": ")[2]
            if tick.rule is Rule.ESTOP:
                self.controller.estop(reason)
            elif tick.rule not in (None, Rule.DRIVER):
                self.controller.fault(tick.rule, reason)
        return True

    def _take_over(self, tick: RecordedTick, mode: Mode, time_ns: int) -> None:
        """Go on from what a tick says."""
        recorded = self._recorded
        self.controller.begin_at(
            ControllerState(
                mode=mode,
                time_ns=time_ns,
                measured=recorded.joint_pos(tick),
                commanded=recorded.command(tick) if tick.mode is mode else None,
                target=recorded.target(tick),
                blend=tick.blend,
            )
        )

    def ask(self, tick: RecordedTick) -> None:
        """Ask for what was granted before a tick, at the recorded times."""
        controller, self.refused = self.controller, ""
        for name, time_ns in tick.requests:
            self.clock.now_ns = time_ns
            try:
                if name == "reset":
                    if not controller.snapshot().latched:
                        controller.estop("pressed, and reset before a tick")
                    controller.reset()
                elif name == "run":
                    controller.run()
                    self.policy.begin(tick)
                    self._clips_known = True
                else:
                    {
                        "stand": controller.stand,
                        "damp": controller.damp,
                        **self.policy.requests,
                    }[name]()
            except RefusedError as error:
                self.refused = str(error)

    def sense(self, tick: RecordedTick, before: RecordedTick | None) -> None:
        """Take in what was sampled for a tick, with the readers of the robot.

        Args:
            tick: It.
            before: The tick before it; None where that is not known.
        """
        self.clock.now_ns = tick.time_ns
        if not tick.alone:
            self.seen.clear()
            before = None
        for name in self._readers:
            message = tick.messages.get(name)
            if message is not None and self._read(name, message, tick, before):
                self.seen.add(name)
        for name, age_ns in tick.ages_ns.items():
            entry = self.controller.inputs.get(name)
            if entry is None:
                continue
            if age_ns is None:
                entry.reset()
            elif entry.age_ns(tick.time_ns) != age_ns:
                # As recorded: the estimate of a delay may be older than the recording.
                entry.accept(tick.time_ns - age_ns)
            entry.measured_ns = tick.measured_ns.get(name)
        self.policy.sense(tick)

    def _read(
        self, name: str, message: Any, tick: RecordedTick, before: RecordedTick | None
    ) -> bool:
        """Read a message; return whether it was taken up, by the robot and here."""
        controller, reader = self.controller, self._readers[name]
        entry, stamp = controller.inputs[name], stamp_ns(message)
        if entry.is_new(stamp, tick.time_ns) and name == JOINT_STATES.name:
            with suppress(RobotError):
                self._checked.read(message)
        if not _was_taken(name, tick, before):
            return False
        try:
            if reader is not None:
                reader.read(message)
            elif not controller.command.set(
                velocity_of(message), tick.time_ns - (tick.ages_ns.get(name) or 0)
            ):
                return False
        except RobotError:
            return False  # nothing was written, as on the robot
        entry.accept(tick.time_ns, stamp, tick.stamp_ns)
        return True

    def compute_state(self, tick: RecordedTick) -> None:
        """Compute the state of a tick, without a tick of the controller."""
        self.policy.state.begin_tick(lambda flat: self._recorded.write(tick, flat))
        self.controller.command.update(tick.time_ns)
        self.policy.state.derive()

    def tick(self, tick: RecordedTick) -> None:
        """Tick the controller, as the robot's was.

        Raises:
            BackendError: The model does not run.
            ToolError: The policy observes what was not recorded.
        """
        controller, clock = self.controller, self.clock
        clock.press = self._fault(tick)
        clock.now_ns = tick.policy_ns or tick.time_ns
        deadline_ns = tick.time_ns + self._period_ns
        clock.late_ns = self._late_ns(tick, deadline_ns)
        self.policy.state.begin_tick(lambda flat: self._write_state(tick, flat))
        self.targets, self.settled = controller.tick(tick.time_ns, deadline_ns), True
        run = controller.latest_tick
        if tick.target is not None and tick.mode is Mode.RUN and not self.policy.known:
            self._take_over(tick, Mode.RUN, tick.time_ns)
        if tick.rule is Rule.CLIPPED_TOO_LONG and not self._clips_known:
            # Since when the guard has clipped is not known, but that it had for long.
            controller.fault(Rule.CLIPPED_TOO_LONG, tick.reason.partition(": ")[2])
            self.targets, self.settled = controller.safe_targets(), False
        elif tick.command_mode is Mode.DAMP and tick.mode is not Mode.DAMP:
            self.targets = controller.estop("pressed before the command was sent")
        if self.policy.known and run.taken and run.clipped_ticks == 0:
            self._clips_known = True

    def _write_state(self, tick: RecordedTick, flat: F64) -> None:
        """Write the recorded state; raise where the observation needs what was not recorded."""
        self._recorded.write(tick, flat)
        if not tick.ran:
            return
        missing = [
            name for name in self.policy.state.not_finite() if name not in self._recorded.fields
        ]
        if missing:
            raise ToolError(
                f"{self._recorded.policy}: tick {tick.number}: expected a recording of what the "
                f"policy observes, found nothing of {', '.join(missing)}"
            )

    def _late_ns(self, tick: RecordedTick, deadline_ns: int) -> int | None:
        """Return the time at which the policy was ready, where that was after its deadline."""
        if tick.reason:
            self._held_late = tick.reason.endswith(" ms late")
        if tick.mode not in (Mode.HOLD, Mode.DAMP):
            return None
        too_long = tick.rule is Rule.HELD_TOO_LONG
        late = tick.mode is Mode.HOLD and bool(tick.outputs) if tick.ran else self._held_late
        return deadline_ns + (_LONG_NS if too_long else 1) if late or too_long else None

    def _fault(self, tick: RecordedTick) -> Callable[[], object] | None:
        """Report what came to the robot from outside: an e-stop, a clock, a defect.

        Returns:
            What presses the e-stop, where that was while the policy ran.
        """
        controller, rule, reason = self.controller, tick.rule, tick.reason
        if tick.mode is not Mode.DAMP or not reason:
            return None
        pressed = rule is Rule.ESTOP or f"; {Rule.ESTOP.value}: " in reason
        if pressed and not controller.estop_pressed:
            why = reason.rpartition(f"{Rule.ESTOP.value}: ")[2]
            if tick.ran or tick.policy_ns:
                return lambda: controller.estop(why)
            controller.estop(why)
        elif rule in _FROM_OUTSIDE or (rule is Rule.CLOCK and "backwards" in reason):
            self.clock.now_ns = tick.time_ns
            assert rule is not None
            controller.fault(rule, reason.partition(": ")[2])
        elif rule is Rule.DRIVER:
            controller.driver_stopped(reason.partition(": ")[2])
        return None


def beginning(tick: RecordedTick, before: RecordedTick | None, on_fault: OnFault) -> Mode | None:
    """Return the mode before a tick at which a controller can begin; None where it cannot.

    Args:
        tick: It, with requests that can be asked for then.
        before: The tick before it; None where that is not known.
        on_fault: What the policy commands in DAMP.
    """
    if tick.requests:
        return Mode.READY if [name for name, _ in tick.requests] == ["run"] else None
    if tick.mode in (Mode.READY, Mode.RUN):
        return tick.mode
    if tick.mode is not Mode.DAMP:
        return None
    if on_fault is not OnFault.HOLD_MEASURED or tick.command is None:
        return Mode.DAMP
    # On the way to the pose that is to be held, nothing says where that is.
    rests = before and before.command is not None and np.array_equal(before.command, tick.command)
    return Mode.DAMP if rests else None


def begins_afresh(tick: RecordedTick, on_fault: OnFault) -> bool:
    """Return whether this is the first tick since the node was activated, with nothing before."""
    if tick.number != 0:
        return False
    if tick.requests:
        return True
    held = on_fault is OnFault.HOLD_MEASURED and tick.command is not None
    return tick.mode is Mode.DAMP and not held


def _was_taken(name: str, tick: RecordedTick, before: RecordedTick | None) -> bool:
    """Return whether the robot took a message up: else the input only grew older.

    A stamp may be repeated, a value may be none that a joint can have.
    """
    age_ns = tick.ages_ns.get(name, 0)
    then_ns = None if before is None else before.ages_ns.get(name)
    if before is None or age_ns is None or then_ns is None:
        return age_ns is not None
    return abs(age_ns - then_ns - tick.time_ns + before.time_ns) > _ROUNDING_NS
