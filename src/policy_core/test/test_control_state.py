# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A controller that goes on from a saved state does what the one that was saved goes on to do."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policy_core.bundle.state_fields import LEADER_POS
from policy_core.control.controller import Controller
from policy_core.control_state import ControlState
from policy_core.errors import RefusedError
from policy_core.guard.joint_check import JointCheck
from policy_core.interfaces import F64, OnFault
from policy_core.members.chunk.worker import Request
from policy_core.observation.freshness import Input
from testkit.fuzzing import examples
from testkit.kernel.arms import PERIOD_NS as ARM_PERIOD_NS
from testkit.kernel.arms import Arm
from testkit.kernel.contracts import DEFAULT, NOMINAL, contract_of
from testkit.kernel.legs_and_arm import LegsAndArm
from testkit.kernel.noise import DDIM, FLOW, denoising_changes
from testkit.kernel.robots import BOTH, Robot, ScriptedBackend
from testkit.kernel.walkers import SetRobot

pytestmark = pytest.mark.both_cores

Step = tuple[str, Any]


def restored(state: ControlState) -> ControlState:
    """Return a state as a recording brings it back."""
    return ControlState.decoded(*state.encoded())


def text_of(state: ControlState) -> str:
    text, arrays = state.encoded()
    return text + "".join(f"{each.dtype}{each.shape}{each.tobytes().hex()}" for each in arrays)


def answering(backend: ScriptedBackend) -> None:
    """Let each output depend on all that the model is given."""

    def run() -> None:
        seen = np.concatenate([each.reshape(-1) for each in backend.inputs.values()])
        mixed = float(np.sin(np.nan_to_num(seen) @ np.arange(1.0, seen.size + 1.0)))
        for name, output in backend.outputs.items():
            values = 0.2 * mixed * np.arange(1.0, output.size + 1.0)
            backend.answers[name] = values.reshape(output.shape)

    backend.during_run = run


class Machine(Protocol):
    """A robot in simulated time that a script drives."""

    controller: Controller

    def step(self, kind: str, value: Any) -> object: ...

    def fresh(self) -> Machine:
        """Return another one, at the same time in the same world, that has not run."""


def requests_of(controller: Controller) -> dict[str, Callable[[], object]]:
    return {
        "damp": controller.damp,
        "stand": controller.stand,
        "run": controller.run,
        "reset": controller.reset,
        "estop": lambda: controller.estop("pressed"),
        "driver": lambda: controller.driver_stopped("the driver damps"),
    }


class Walker:
    def __init__(self, changes: dict[str, object]) -> None:
        self.changes = changes
        self.robot = self.made()
        self.controller = self.robot.controller

    def made(self) -> Robot:
        robot = Robot(self.changes)
        answering(robot.backend)
        return robot

    def fresh(self) -> Walker:
        other = type(self)(self.changes)
        other.robot.now_ns, other.robot.sensed = self.robot.now_ns, dict(self.robot.sensed)
        return other

    def step(self, kind: str, value: Any) -> object:
        robot, said = self.robot, ""
        if kind == "ask":
            said = asked(self.requests().get(value, lambda: None))
        elif kind == "move":
            pose = np.add(robot.sensed["joint_pos"], value).tolist()
            robot.sensed["joint_pos"] = pose if math.isfinite(sum(pose)) else (*DEFAULT,)
        elif kind == "command":
            robot.controller.command.set((value, -value, value), robot.now_ns)
        return [said, *(self.tick(BOTH if kind == "silence" else ()) for _ in range(3))]

    def tick(self, silent: tuple[str, ...]) -> object:
        targets = self.robot.tick(silent=silent)
        return status_of(self.controller, targets and bits_of(vars(targets)))

    def requests(self) -> dict[str, Callable[[], object]]:
        return requests_of(self.controller)


class Gaits(Walker):
    robot: SetRobot

    def made(self) -> SetRobot:
        robot = SetRobot(self.changes, {"walk": HISTORY, "crouch": {**HISTORY, "name": "crouch"}})
        for backend in robot.backends.values():
            answering(backend)
        return robot

    def requests(self) -> dict[str, Callable[[], object]]:
        ask = self.robot.requests
        return {
            **super().requests(),
            "stand": ask.stand,
            "crouch": lambda: ask.switch("crouch"),
            "walk": lambda: ask.switch("walk"),
        }


class LegsWithArm(Gaits):
    def made(self) -> Any:
        robot = LegsAndArm(mode="synchronous")
        answering(robot.backend)
        robot.chunk = lambda run: 0.1 * math.sin(robot.now_ns * 1e-9)
        return robot

    def requests(self) -> dict[str, Callable[[], object]]:
        ask = self.robot.requests
        return {
            **super().requests(),
            "crouch": lambda: ask.switch("alone"),
            "walk": lambda: ask.switch("both"),
        }


class ChunkArm:
    def __init__(self, changes: Mapping[str, object], chunks: dict[str, Any]) -> None:
        self.changes, self.chunks = changes, chunks
        self.arm = Arm(changes, infer=chunk_of, **chunks)
        self.controller = self.arm.controller
        if leader := self.controller.inputs.get("leader/joint_states"):
            leader.accept(self.arm.now_ns)

    def fresh(self) -> ChunkArm:
        other = ChunkArm(self.changes, self.chunks)
        other.arm.now_ns, other.arm.joint_pos = self.arm.now_ns, self.arm.joint_pos
        other.arm.image = self.arm.image
        return other

    def step(self, kind: str, value: Any) -> object:
        arm, controller, said = self.arm, self.controller, ""
        requests: dict[str, Callable[[], object]] = {
            **requests_of(controller),
            "crouch": arm.runtime.requests.take_over,
            "walk": arm.runtime.requests.hand_back,
        }
        if kind == "ask":
            said = asked(requests[value])
        elif kind == "move":
            pose = np.add(arm.joint_pos, 0.2 * value)
            arm.joint_pos = pose if np.isfinite(pose).all() else np.zeros(3)
        silent = ("joint_states", "laptop") if kind == "silence" else ()
        return [said, *(self.tick(silent) for _ in range(2))]

    def tick(self, silent: tuple[str, ...]) -> object:
        arm = self.arm
        arm.now_ns += ARM_PERIOD_NS
        arm.sense(silent)
        if leader := self.controller.inputs.get("leader/joint_states"):
            self.controller.state[LEADER_POS][:] = np.add(arm.joint_pos, 0.02)
            leader.accept(arm.now_ns)
        targets = self.controller.tick(arm.now_ns, arm.now_ns + ARM_PERIOD_NS)
        return status_of(self.controller, targets and targets.block.tobytes())


def chunk_of(request: Request) -> F64:
    """Return a chunk that depends on the state, and on what it is to continue."""
    state = np.concatenate([*request.sensed.fields.values()])
    planned = 0.0 if request.planned is None else float(request.planned.targets.sum())
    steps: F64 = 0.002 * np.arange(10.0)[:, np.newaxis]
    return 0.02 * math.sin(state.sum() + planned + request.asked_ns * 1e-9) + np.repeat(steps, 3, 1)


def asked(request: Callable[[], object]) -> str:
    try:
        request()
    except RefusedError as error:
        return str(error)
    return ""


def bits_of(arrays: Mapping[str, F64]) -> object:
    return {name: array.tobytes() for name, array in arrays.items()}


def status_of(controller: Controller, bits: object) -> object:
    status = controller.snapshot()
    return bits, status.mode, status.reason, status.latched, status.counters


HISTORY: dict[str, object] = {"observations.obs.history": {"length": 4}, "nominal": NOMINAL}
GAIT = [
    {"term": "velocity_command"},
    {"term": "joint_pos_rel"},
    {"term": "last_action"},
    {"term": "last_output", "output": "speed"},
    {"term": "phase", "period_s": 0.7, "standing": {"below": 0.2, "clock": "stops", "phase": 0.5}},
]
REMEMBERING: dict[str, object] = {
    "observations.obs.terms": GAIT,
    "observations.obs.history": {"length": 3, "init": "repeat"},
    "model.outputs.speed": {"shape": [1, 2]},
    "model.inputs.h": {"shape": [1, 4]},
    "model.outputs.h_next": {"shape": [1, 4]},
    "state": [{"input": "h", "output": "h_next"}],
}
MACHINES: dict[str, Callable[[], Machine]] = {
    "walker": lambda: Walker(REMEMBERING),
    "held": lambda: Walker({**HISTORY, "safety.on_fault": OnFault.HOLD_MEASURED.value}),
    "gaits": lambda: Gaits({}),
    "legs with arm": lambda: LegsWithArm({}),
    "synchronous": lambda: ChunkArm({}, {"mode": "synchronous"}),
    "asynchronous": lambda: ChunkArm({}, {"simulated_latency_s": 0.25}),
    "realigned": lambda: ChunkArm({}, {"realign": True, "simulated_latency_s": 0.15}),
    "ensemble": lambda: ChunkArm({}, {"mode": "ensemble", "ensemble_coeff": 0.01}),
    "real time": lambda: ChunkArm(
        denoising_changes(FLOW), {"mode": "rtc", "simulated_latency_s": 0.25}
    ),
    "several observations": lambda: ChunkArm(
        denoising_changes({**DDIM, "observations": 2}), {"simulated_latency_s": 0.1}
    ),
    "person": lambda: ChunkArm({}, {"handover_s": 0.3, "leader_tolerance_rad": 0.1}),
}
REQUESTS = ["damp", "stand", "run", "run", "reset", "estop", "driver", "crouch", "walk"]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.sampled_from(REQUESTS)),
        st.tuples(st.just("move"), st.sampled_from([0.0, 0.01, 0.1, -0.1, 2.0])),
        st.tuples(st.just("silence"), st.just(0)),
        st.tuples(st.just("command"), st.sampled_from([0.0, 0.1, 0.5])),
    ),
    max_size=12,
)
RUNNING: list[Step] = [
    ("wait", 0),
    ("ask", "stand"),
    *[("wait", 0)] * 4,
    ("ask", "run"),
    ("command", 0.5),
]


LED: list[Step] = [*RUNNING, ("ask", "crouch"), *[("wait", 0)] * 4]
"""A person is about to drive, or a set has switched."""


@pytest.mark.fuzz
@pytest.mark.parametrize("name", MACHINES)
@examples(0.4)
@given(start=st.sampled_from([[], RUNNING, LED]), before=STEPS, after=STEPS)
def test_restored_controller_goes_on_bit_for_bit(
    name: str, start: list[Step], before: list[Step], after: list[Step]
) -> None:
    machine = MACHINES[name]()
    for step in [*start, *before]:
        machine.step(*step)
    state, other = machine.controller.control_state(), machine.fresh()
    other.controller.go_on_from(restored(state))
    assert text_of(other.controller.control_state()) == text_of(state)
    for step in [*after, ("wait", 0)]:
        assert machine.step(*step) == other.step(*step)
    assert text_of(other.controller.control_state()) == text_of(machine.controller.control_state())


def test_machines_of_this_test_run() -> None:
    for name, make in MACHINES.items():
        machine = make()
        for step in RUNNING:
            machine.step(*step)
        assert machine.controller.mode.name == "RUN", name


def test_state_of_another_contract_is_refused() -> None:
    state = MACHINES["walker"]().controller.control_state()
    with pytest.raises((KeyError, TypeError, ValueError)):
        MACHINES["gaits"]().controller.go_on_from(state)


MS = 1_000_000
MESSAGES = st.lists(
    st.tuples(
        st.integers(1, 60),  # ms since the message before
        st.sampled_from([0, 1, 5, 30, 300, -80]),  # ms by which its stamp is off
        st.sampled_from([0, 0, 0, -200, 40]),  # ms by which our clock is set
        st.sampled_from(["accept", "accept", "accept", "reject", "look"]),
    ),
    max_size=15,
)


class Stream:
    """An input, and what comes to it."""

    def __init__(self, now_ns: int = 5_000 * MS, wall_ns: int = 9_000 * MS) -> None:
        self.entry = Input("imu/data", 40 * MS)
        self.now_ns, self.wall_ns = now_ns, wall_ns

    def take(self, after_ms: int, off_ms: int, set_ms: int, how: str) -> object:
        self.now_ns += after_ms * MS
        self.wall_ns += set_ms * MS
        stamp_ns = self.now_ns + self.wall_ns - off_ms * MS
        entry, is_new = self.entry, False
        if how == "reject":
            entry.reject("no joint of this name")
        elif how == "accept" and (is_new := entry.is_new(stamp_ns, self.now_ns)):
            entry.accept(self.now_ns, stamp_ns, self.now_ns + self.wall_ns)
        age_ns = entry.age_ns(self.now_ns)
        return is_new, age_ns, entry.measured_ns, entry.clock_step, entry.describe(self.now_ns)


@settings(max_examples=300)
@given(before=MESSAGES, after=MESSAGES)
def test_restored_input_judges_messages_as_before(
    before: list[tuple[int, int, int, str]], after: list[tuple[int, int, int, str]]
) -> None:
    stream = Stream()
    for message in before:
        stream.take(*message)
    other = Stream(stream.now_ns, stream.wall_ns)
    other.entry.restore(stream.entry.saved())
    for message in after:
        assert other.take(*message) == stream.take(*message)


SAMPLES = st.lists(
    st.tuples(
        st.sampled_from([1, 1, 1, 20]), st.sampled_from([0.0, 0.01, 0.3, 2.0]), st.booleans()
    ),
    max_size=40,
)


@settings(max_examples=200)
@given(before=SAMPLES, after=SAMPLES)
def test_restored_check_of_the_joints_judges_samples_as_before(
    before: list[tuple[int, float, bool]], after: list[tuple[int, float, bool]]
) -> None:
    now_ns, pose = 0, np.array(DEFAULT)
    checks = [JointCheck(contract_of(), 40 * MS) for _ in range(2)]
    for number, (ticks, moved, in_motion) in enumerate([*before, *after]):
        now_ns += 20 * ticks * MS
        pose = pose + moved
        if number == len(before):
            checks[1].restore(checks[0].saved())
        said = []
        for check in checks[:1] if number < len(before) else checks:
            check.in_motion = in_motion
            said.append((check.problem(pose, None, now_ns), check.lost, check.replaced))
        assert said[0] == said[-1]
