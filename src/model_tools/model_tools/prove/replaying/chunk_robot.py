# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The real controller of a chunk policy, driven by recorded ticks instead of a robot.

Messages, ages, requests and results of inferences come from the recording, each in the tick in
which it came on the robot. All else is computed: state, queue, fade, bounds, modes and commands.
"""

from __future__ import annotations

import math

import numpy as np

from model_tools.prove.replaying.recorded_ticks import RecordedTick
from model_tools.prove.replaying.recorded_worker import RecordedWorker
from model_tools.prove.replaying.verdicts import rule_of
from policy_inference.bundle.bundle import ChunkBundle
from policy_inference.core.chunks.controller import camera_input, chunk_controller
from policy_inference.core.chunks.settings import ChunkSettings
from policy_inference.core.guard import Rule
from policy_inference.core.images import Frame
from policy_inference.core.limits import Limits
from policy_inference.core.messages import stamp_ns, state_reader
from policy_inference.errors import RefusedError, RobotError
from policy_inference.interfaces import F64, JointTargets, Mode, OnFault

_LONG_AGO_NS = 3_600_000_000_000
_CONFIRM_S = 1.0
"""Longer than a pose is confirmed for before it is believed."""
_SMALL_STEP = 0.1
"""Share of the fastest motion with which a pose is reached before the recording begins."""
_NO_IMAGE = Frame(encoding="none", height=0, width=0, step=0, data=memoryview(b""))
"""Images are not recorded, and nothing here looks at one."""


class ChunkRobot:
    """A controller from the first tick that it can join on; a new one after ticks that are missing.

    Attributes:
        controller: The real one.
        targets: What it commanded last.
        refused: Why it refused a request that was granted on the robot; empty where it did not.
        known: Whether all that the policy's target depends on is known from the recording.
    """

    def __init__(self, bundle: ChunkBundle, limits: Limits, settings: ChunkSettings) -> None:
        """Make a controller in DAMP that knows nothing."""
        contract = bundle.contract
        self._contract, self._settings, self._limits = contract, settings, limits
        self.worker = RecordedWorker()
        runtime = chunk_controller(
            bundle, self.worker, limits, lambda: self.worker.clock_ns, settings
        )
        self.controller, self._policy, self._frames = (
            runtime.controller,
            runtime.policy,
            runtime.frames,
        )
        controller, names = self.controller, contract.joints.names
        self._actions = [names.index(name) for name in contract.action.joints]
        self._grippers = [contract.action.joints.index(name) for name in contract.action.grippers]
        images = {camera_input(name) for name in self._frames}
        self._readers = {
            name: state_reader(
                name, contract.joints.on_robot(), controller.state, controller.joint_check
            )
            for name in controller.inputs
            if name not in images
        }
        self.targets: JointTargets | None = None
        self.refused, self.known = "", True
        self._joined_ns, self._unknown_until_ns = -_LONG_AGO_NS, -_LONG_AGO_NS
        self._aimed: F64 | None = None
        self._held_late = False
        self._measured_ns: dict[str, int] = {}
        """Of the newest frame of each camera."""
        controller.start()

    def join(self, tick: RecordedTick) -> bool:
        """Bring the controller to where the robot was before a tick; return whether it is there.

        The robot stood, ran or was held; it is led there in ticks of its own before the tick.
        """
        fresh = tick.number == 0 and tick.mode is Mode.DAMP
        on_fault, motion = OnFault(self._contract.safety.on_fault), tick.mode
        if fresh and (
            tick.requests or tick.command is None or on_fault is not OnFault.HOLD_MEASURED
        ):
            return True
        if tick.requests or motion not in (Mode.DAMP, Mode.READY, Mode.RUN):
            return False
        runs = motion is Mode.RUN
        if runs and (tick.target is None or (self._realigns and not tick.begins)):
            return False
        _Approach(self, tick).run()
        if runs:
            self.known, self._joined_ns, self._unknown_until_ns = False, tick.time_ns, 0
        return self.controller.mode is motion

    @property
    def _realigns(self) -> bool:
        return self._settings.mode == "asynchronous" and self._settings.realign

    def sense(self, tick: RecordedTick) -> set[str]:
        """Take in what was sampled for a tick; return the inputs of which a message was read."""
        worker, inputs = self.worker, self.controller.inputs
        worker.clock_ns = tick.time_ns
        read = set[str]()
        for name, reader in self._readers.items():
            message = tick.messages.get(name)
            if message is None:
                continue
            stamp = stamp_ns(message)
            if inputs[name].is_new(stamp, tick.time_ns) or not tick.alone:
                try:
                    reader.read(message)
                except RobotError as error:
                    inputs[name].reject(str(error))
                    continue
                inputs[name].accept(tick.time_ns, stamp, tick.stamp_ns)
                read.add(name)
        for name, buffer in self._frames.items():
            measured_ns = tick.measured_ns.get(camera_input(name))
            if measured_ns is not None and measured_ns != self._measured_ns.get(name):
                buffer.add(_NO_IMAGE, measured_ns)
                self._measured_ns[name] = measured_ns
        for name, age_ns in tick.ages_ns.items():
            if age_ns is None:
                inputs[name].reset()
            elif inputs[name].age_ns(tick.time_ns) != age_ns:
                # As recorded: the estimate of a delay may be older than the recording.
                inputs[name].accept(tick.time_ns - age_ns)
            inputs[name].measured_ns = tick.measured_ns.get(name)
        return read

    def ask(self, tick: RecordedTick) -> None:
        """Ask for what was granted before a tick, at the recorded times."""
        controller, self.refused = self.controller, ""
        for name, time_ns in tick.requests:
            self.worker.clock_ns = time_ns
            try:
                if name == "reset":
                    if not controller.snapshot().latched:
                        controller.estop("pressed, and reset before a tick")
                    controller.reset()
                elif name == "run":
                    controller.run()
                    self.known = True  # it begins clean
                else:
                    {"stand": controller.stand, "damp": controller.damp}[name]()
            except RefusedError as error:
                self.refused = str(error)

    def tick(self, tick: RecordedTick) -> None:
        """Tick the controller, as the robot's was."""
        controller, worker = self.controller, self.worker
        self._fault(tick)
        worker.clock_ns = tick.policy_ns or tick.time_ns
        deadline_ns = tick.time_ns + self._contract.period_ns
        worker.late_ns = self._late(tick, deadline_ns)
        worker.given = []
        self._arrive(tick)
        self.targets = controller.tick(tick.time_ns, deadline_ns)
        if not self.known and tick.target is not None:
            self._policy.action.command[:] = tick.target
            self._aimed = tick.target[self._actions]
        if tick.command_mode is Mode.DAMP and tick.mode is not Mode.DAMP:
            self.targets = controller.estop("pressed before the command was sent")

    def _arrive(self, tick: RecordedTick) -> None:
        """Let results arrive, or, before the first that is known, aim at the recorded target."""
        worker = self.worker
        worker.results, worker.target = [*tick.results], None
        if self.known:
            return
        known = [each for each in tick.results if each.observation_ns > self._joined_ns]
        mode, period_ns = self._settings.mode, self._contract.period_ns
        if not self._unknown_until_ns:
            worker.results = known
            if not any(each.chunk is not None for each in known):
                if tick.target is not None:
                    worker.target = self._aim(tick.target[self._actions])
                return
        elif mode != "asynchronous" or not any(each.chunk is not None for each in known):
            self.known = tick.time_ns > self._unknown_until_ns
            return
        # A chunk fades in from a plan of which not all is known, so it is known after its fade.
        unknown = {
            "asynchronous": round(self._settings.fade_s * self._contract.rate_hz),
            "ensemble": self._contract.chunk.size,
        }.get(mode, 0)
        self._unknown_until_ns = tick.time_ns + (unknown + 1) * period_ns

    def _aim(self, target: F64) -> F64:
        """Return the step of a chunk that becomes this target, whatever was planned before."""
        if self._settings.mode != "asynchronous" or self._aimed is None:
            return target
        fade = round(self._settings.fade_s * self._contract.rate_hz)
        found = self._aimed + (target - self._aimed) * (fade + 1)
        found[self._grippers] = target[self._grippers]
        return found

    def _late(self, tick: RecordedTick, deadline_ns: int) -> int | None:
        """Return the time at which the policy was ready, where that was after its deadline."""
        if tick.reason:
            self._held_late = tick.reason.endswith(" ms late")
        if not self._held_late or tick.mode not in (Mode.HOLD, Mode.DAMP):
            return None
        too_long = rule_of(tick.reason) is Rule.HELD_TOO_LONG
        return deadline_ns + (_LONG_AGO_NS if too_long else 1)

    def _fault(self, tick: RecordedTick) -> None:
        """Report what came to the robot from outside: an e-stop, a clock, a defect."""
        controller, rule = self.controller, rule_of(tick.reason)
        if tick.mode is not Mode.DAMP or not tick.reason:
            return
        pressed = rule is Rule.ESTOP or f"; {Rule.ESTOP.value}: " in tick.reason
        if pressed and not controller.estop_pressed:
            controller.estop(tick.reason.rpartition(f"{Rule.ESTOP.value}: ")[2])
        elif rule is Rule.INTERNAL or (rule is Rule.CLOCK and "backwards" in tick.reason):
            self.worker.clock_ns = tick.time_ns
            controller.fault(rule, tick.reason.partition(": ")[2])


class _Approach:
    """Leads a controller to a recorded tick, in ticks before it: DAMP, STAND, READY, RUN."""

    def __init__(self, robot: ChunkRobot, tick: RecordedTick) -> None:
        """Plan the way."""
        self._robot, self._tick, contract = robot, tick, robot._contract
        self._contract = contract
        rate_hz, stand = contract.rate_hz, contract.stand
        self._stand_pose: F64 = stand.position
        self._confirm = math.ceil(_CONFIRM_S * rate_hz)
        self._standing = math.ceil(stand.duration_s * rate_hz) + 2
        part = robot.controller.state.slices["joint_pos"]
        measured = tick.state[part]
        self._measured = measured if np.isfinite(measured).all() else self._stand_pose
        self._aim: F64 = self._stand_pose if tick.target is None else tick.target
        if tick.mode is Mode.DAMP and tick.command is not None:
            self._aim = tick.command[0]
        step = contract.joints.velocity_limit / rate_hz
        if contract.nominal:
            step = np.minimum(step, contract.nominal.target_step)
        begin = self._aim if tick.mode is Mode.DAMP else self._stand_pose
        farthest = np.maximum(np.abs(self._aim - begin), np.abs(self._measured - begin))
        self._begin: F64 = begin
        blending = math.ceil(robot._limits.blend_ns / contract.period_ns) + 2
        self._moving = max(blending, math.ceil(float((farthest / step).max()) / _SMALL_STEP))

    def run(self) -> None:
        """Go there."""
        robot, controller = self._robot, self._robot.controller
        mode, period_ns = self._tick.mode, self._contract.period_ns
        ticks = self._confirm + (0 if mode is Mode.DAMP else self._standing + 1) + self._moving
        self._now_ns = self._tick.time_ns - (ticks + 1) * period_ns
        self._hold(self._confirm, self._begin)
        if mode is Mode.DAMP:
            if self._tick.command is not None:
                controller.damp()
            rule, reason = rule_of(self._tick.reason), self._tick.reason.partition(": ")[2]
            if rule is Rule.ESTOP:
                controller.estop(reason)
            elif rule is not None:
                controller.fault(rule, reason)
            self._move(aims=False)
            return
        controller.stand()
        self._hold(self._standing, self._stand_pose)
        if mode is Mode.RUN:
            controller.run()
        self._move(aims=mode is Mode.RUN)
        if mode is Mode.RUN:
            robot._aimed = self._aim[robot._actions]
            robot._policy.action.command[:] = self._aim

    def _hold(self, ticks: int, pose: F64) -> None:
        for _ in range(ticks):
            self._one(pose)

    def _move(self, *, aims: bool) -> None:
        """Go on to what was measured, and aim at what was commanded."""
        robot = self._robot
        for number in range(self._moving):
            share = (number + 1) / self._moving
            if aims:
                aim = self._begin + share * (self._aim - self._begin)
                robot.worker.target = robot._aim(aim[robot._actions])
                robot._aimed = aim[robot._actions]
            self._one(self._begin + share * (self._measured - self._begin))

    def _one(self, pose: F64) -> None:
        robot, controller = self._robot, self._robot.controller
        self._now_ns += self._contract.period_ns
        robot.worker.clock_ns = now_ns = self._now_ns
        controller.joint_check.problem(pose, None)
        controller.state.flat[:] = self._tick.state
        controller.state["joint_pos"][:] = pose
        for entry in controller.inputs.values():
            entry.accept(now_ns)
        for buffer in robot._frames.values():
            buffer.add(_NO_IMAGE, now_ns)
        controller.tick(now_ns, now_ns + self._contract.period_ns)
