# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The real controller of a policy, driven by recorded ticks instead of a robot.

Messages, ages, requests and the answers of the policy's model come from the recording, each in the
tick in which it arrived on the robot. Everything else is computed: state, observation, target,
bounds, modes and commands.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from model_tools.errors import ToolError
from model_tools.prove.replaying.recorded_inputs import Recorded
from model_tools.prove.replaying.recording import RecordedTick
from model_tools.prove.replaying.stages import TickStages
from policy_core.bundle.body import Body
from policy_core.bundle.state_fields import COMMAND, JOINT_STATES, read_velocity
from policy_core.control.authority import AUTHORITY, AuthorityRequest
from policy_core.control.controller import FADE_COMMAND, Controller
from policy_core.errors import RefusedError, RobotError
from policy_core.guard.bounds import Rule
from policy_core.interfaces import F64, JointTargets, Mode
from policy_core.observation.state import StateVector
from policy_inference.messages.readers import JointStateReader, stamp_ns, state_reader


class RecordedClock:
    """Clock of a replayed controller.

    Attributes:
        now_ns: Current time.
        late_ns: Time at which the policy finished, if that was too late; otherwise None.
        press: Function that presses the e-stop while the policy runs; None if it was not pressed.
    """

    def __init__(self) -> None:
        self.now_ns = 0
        self.late_ns: int | None = None
        self.press: Callable[[], object] | None = None

    def __call__(self) -> int:
        return self.now_ns

    def run_policy(self, *, is_late: bool = True) -> None:
        """Advance the clock past a model run; `is_late` is true if that run was the late one."""
        if is_late and self.late_ns is not None:
            self.now_ns = self.late_ns
        if self.press is not None:
            self.press()


class RecordedState(StateVector):
    """A state that each tick replaces with the recorded one.

    Attributes:
        computed: The state computed from messages and the policy's own past, laid out as `flat`.
    """

    computed: F64
    _write: Callable[[F64], None] | None = None

    def begin_tick(self, write: Callable[[F64], None]) -> None:
        """Let the next `derive` write the recorded state into `flat`."""
        self._write = write

    def derive(self) -> None:
        """Compute derived fields; then, once per tick, take the recorded state."""
        super().derive()
        if self._write is not None:
            self.computed = self.flat.copy()
            self._write(self.flat)
            self._write = None


class ReplayedPolicy:
    """A policy with its controller; the policy's model returns the recorded answers.

    Attributes:
        controller: The real controller.
        state: State of the controller.
        outside: Inputs of the controller whose messages are not recorded.
        actions: Joints of the last action in the state; empty if the state has no last action.
        requests: Functions for requests that only this kind of policy has, by name.
    """

    controller: Controller
    state: RecordedState
    outside: Collection[str] = ()
    actions: Sequence[str] = ()
    requests: Mapping[str, Callable[[], object]] = {}

    @property
    def known(self) -> bool:
        """True if the policy's history is as long as if it had run all the ticks itself."""
        return True

    def begin(self) -> None:
        """Note the start of a run, with an empty history."""

    def restored(self, *, whole: bool) -> None:
        """Note that the controller continues from a recorded state.

        Args:
            whole: True if the policy's own history was restored too; otherwise it is empty.
        """

    def sense(self, tick: RecordedTick) -> None:
        """Take the sampled inputs other than the state, and prepare the model's answers."""
        raise NotImplementedError

    def end(self) -> None:
        """End a controller tick, after everything has been judged."""

    def own_fields(self, tick: RecordedTick, sensed: Collection[str]) -> set[str]:
        """Return the known values of the state fields that the policy computes itself.

        Args:
            tick: The tick.
            sensed: Fields received in messages.
        """
        return set()

    def judge(self, tick: RecordedTick, stages: TickStages) -> None:
        """Compare the inputs and outputs of the policy's model, after the controller's tick."""
        raise NotImplementedError


_LONG_NS = 3_600_000_000_000
_FROM_OUTSIDE = (Rule.INTERNAL, Rule.TRIAL)
"""Rules that are not checked by the controller."""
_LATE = " ms late"
_ROUNDING_NS = 1_000
"""Rounding error of ages, which are recorded in seconds."""


class ReplayedRobot:
    """A controller that continues from a recorded state; create a new one to restart.

    Attributes:
        policy, controller: The real policy and controller.
        targets: The controller's last targets.
        refused: Why the controller refused a request that the robot granted; empty if it refused
            none.
        seen: Inputs with at least one message.
    """

    def __init__(
        self,
        body: Body,
        recorded: Recorded,
        make: Callable[[RecordedClock], ReplayedPolicy],
    ) -> None:
        """Create a controller in DAMP.

        Args:
            body: The robot's part of the contract.
            recorded: Mapping to the values of the recording.
            make: Creates the policy with an empty history, and its controller.
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
        # The recording states which samples were accepted; the check's result matters while a pose
        # is held.
        sampled = StateVector(
            {
                name: len(names)
                for name in ("joint_pos", "joint_vel")
                if name in controller.state.slices
            }
        )
        self._checked = JointStateReader(names, sampled, controller.joint_check)
        self.targets: JointTargets | None = None
        self.refused = ""
        self.seen = set[str]()
        self._held_late = False
        controller.start()

    def go_on_from(self, tick: RecordedTick, *, whole: bool) -> None:
        """Continue from the state that the robot's controller had before a tick.

        Args:
            tick: Tick with the state of that controller.
            whole: True to restore the policy's history as well.
        """
        state = tick.goes_on_from
        assert state is not None
        try:
            if whole:
                self.controller.go_on_from(state)
            else:
                self.controller.adopt(self._recorded.in_order(state))
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ToolError(
                f"{self._recorded.policy}: tick {tick.number}: expected a state of the policy's "
                f"controller, found one that does not fit: {error!r}"
            ) from error
        self._held_late = str(state.tree["reason"]).endswith(_LATE)
        self.policy.restored(whole=whole)

    @property
    def has_sensed(self) -> bool:
        """True once each input that the robot needs has a message."""
        inputs = self.controller.inputs.values()
        return all(each.measured_ns is not None for each in inputs if each.timeout_ns is not None)

    def ask(self, tick: RecordedTick) -> None:
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
                    self.policy.begin()
                elif name.startswith(AUTHORITY):
                    controller.set_authority(AuthorityRequest.parse(name))
                else:
                    {
                        "stand": controller.stand,
                        "damp": controller.damp,
                        FADE_COMMAND: controller.fade_command,
                        **self.policy.requests,
                    }[name]()
            except RefusedError as error:
                self.refused = str(error)

    def sense(self, tick: RecordedTick, before: RecordedTick | None) -> None:
        """Read the messages sampled for a tick, with the robot's own readers.

        Args:
            tick: The tick.
            before: The tick before it; None if unknown.
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
                # As recorded, since the estimate of a delay may be older than the recording.
                entry.accept(tick.time_ns - age_ns)
            entry.measured_ns = tick.measured_ns.get(name)
        self.policy.sense(tick)

    def _read(
        self, name: str, message: Any, tick: RecordedTick, before: RecordedTick | None
    ) -> bool:
        """Read a message; return whether it was accepted, both on the robot and here."""
        controller, reader = self.controller, self._readers[name]
        entry, stamp = controller.inputs[name], stamp_ns(message)
        if entry.is_new(stamp, tick.time_ns) and name == JOINT_STATES.name:
            with suppress(RobotError):
                self._checked.read(message, tick.time_ns)
        if not _was_taken(name, tick, before):
            return False
        try:
            if reader is not None:
                reader.read(message)
            elif not controller.command.set(
                read_velocity(message), tick.time_ns - (tick.ages_ns.get(name) or 0)
            ):
                return False
        except RobotError:
            return False  # nothing written, as on the robot
        entry.accept(tick.time_ns, stamp, tick.stamp_ns)
        return True

    def compute_state(self, tick: RecordedTick) -> None:
        """Compute the state of a tick without running the controller."""
        self.policy.state.begin_tick(lambda flat: self._recorded.write(tick, flat))
        self.controller.command.update(tick.time_ns)
        self.policy.state.derive()

    def tick(self, tick: RecordedTick) -> None:
        controller, clock = self.controller, self.clock
        clock.press = self._fault(tick)
        clock.now_ns = tick.policy_ns or tick.time_ns
        clock.late_ns = self._late_ns(tick)
        # The deadline is not recorded. A late policy returns at the earliest time that can be late,
        # so that a HOLD lasts no longer here than on the robot.
        deadline_ns = clock.now_ns if clock.late_ns else tick.time_ns + self._period_ns
        self.policy.state.begin_tick(lambda flat: self._write_state(tick, flat))
        self.targets = controller.tick(tick.time_ns, deadline_ns)
        if tick.command_mode is Mode.DAMP and tick.mode is not Mode.DAMP:
            self.targets = controller.estop("pressed before the command was sent")

    def _write_state(self, tick: RecordedTick, flat: F64) -> None:
        """Write the recorded state; raise if it lacks a field that the observation needs."""
        self._recorded.write(tick, flat)
        if not tick.ran:
            return
        missing = [
            name for name in self.policy.state.not_finite() if name not in self._recorded.fields
        ]
        if missing:
            raise ToolError(
                f"{self._recorded.policy}: tick {tick.number}: the recording lacks state fields "
                f"that this policy observes: {', '.join(missing)}"
            )

    def _late_ns(self, tick: RecordedTick) -> int | None:
        """Return the time at which the policy was ready, if after the deadline; else None."""
        if tick.reason:
            self._held_late = tick.reason.endswith(_LATE)
        if tick.mode not in (Mode.HOLD, Mode.DAMP):
            return None
        too_long = tick.rule is Rule.HELD_TOO_LONG
        late = tick.mode is Mode.HOLD and bool(tick.outputs) if tick.ran else self._held_late
        return self.clock.now_ns + (_LONG_NS if too_long else 1) if late or too_long else None

    def _fault(self, tick: RecordedTick) -> Callable[[], object] | None:
        """Report faults from outside the controller to it: e-stop, clock, driver or defect.

        Returns:
            A function that presses the e-stop, if it was pressed while the policy ran; else None.
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


def _was_taken(name: str, tick: RecordedTick, before: RecordedTick | None) -> bool:
    """Return whether the robot accepted a new message; if not, the last input merely aged.

    A message is refused if it repeats a stamp or has a value that is impossible for a joint.
    """
    age_ns = tick.ages_ns.get(name, 0)
    then_ns = None if before is None else before.ages_ns.get(name)
    if before is None or age_ns is None or then_ns is None:
        return age_ns is not None
    return abs(age_ns - then_ns - tick.time_ns + before.time_ns) > _ROUNDING_NS
