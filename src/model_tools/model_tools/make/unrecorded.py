# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rows for a bundle without recordings: from simulated walks, or with random states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from model_tools.errors import ToolError, VerdictError
from model_tools.files.onnx_model import read_onnx
from model_tools.files.terms import last_ticks
from model_tools.make.nominal import HealthyRun, MeasuredRuns
from model_tools.simulation.controlled import ControlledPolicy, RecordingBackend
from model_tools.simulation.robot import LITE3, PUSH_S, SimulatedRobot, WalkCase, push_from
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.clip import MotionClip
from policy_core.bundle.contract import JointContract
from policy_core.bundle.state_fields import STATE_FIELDS
from policy_core.interfaces import Mode
from policy_core.members.joint import JointPolicy
from policy_core.observation.state import EXTERNAL, LAST_OUTPUT, RobotState
from policy_inference.backends.registry import open_backend
from policy_inference.comparison.rows import Rows
from robot_sim.errors import SimError
from robot_sim.faults import Fault, FaultPlan
from robot_sim.ground import LEVEL, Ground
from robot_sim.mapper import Mapper
from robot_sim.metrics import WalkMetrics, measure
from robot_sim.trace import Trace
from robot_sim.walk import Schedule, evenly_timed, walk

_REMEDY = (
    "nominal figures must be measured with a working policy: check that the model belongs to this "
    "contract and robot, that scales, joint order and gains match those used in training, and that "
    "commands are within the range of velocity_command"
)
_EACH_S = 6.0
_COMMANDS = (
    (0.4, 0.0, 0.0),
    (0.8, 0.0, 0.0),
    (0.5, 0.0, 0.6),
    (0.5, 0.0, -0.6),
    (0.0, 0.4, 0.0),
    (0.0, -0.4, 0.0),
    (-0.5, 0.0, 0.0),
    (0.0, 0.0, 0.8),
    (0.0, 0.0, -0.8),
    (0.4, 0.2, -0.4),
    (-0.3, -0.2, 0.4),
    (0.8, 0.0, 0.0),
    (0.0, 0.0, 0.0),
)
_MIXED_EACH_S, _MIXED_S, _MIXED_SEED = 4.0, 120.0, 1
_WALKS = (
    f"then step commands on every axis (a new one every {_EACH_S:g} s) at 0 and 20 ms latency, "
    f"and {_MIXED_S:g} s of mixed commands (a new one every {_MIXED_EACH_S:g} s) at 10 ms"
)
_BEFORE_S, _AFTER_S = 0.5, 1.5
"""Maximum time before RUN, and time simulated after a motion."""
_MOTION_PUSH_N = 60.0
_MOTION_RUNS = (
    (0, "", 0.0),
    (20_000_000, "", 0.0),
    (10_000_000, "front", 0.2),
    (10_000_000, "left", 0.45),
    (10_000_000, "rear", 0.7),
)
"""Latency (ns) in each run, and the push's side and time (as a fraction of the motion)."""
_MOTIONS = (
    "then the whole motion at 0 and 20 ms latency, and three times at 10 ms with a push of "
    f"{_MOTION_PUSH_N:g} N for {PUSH_S:g} s"
)
_LARGEST_ERROR_MPS, _LARGEST_ERROR_SHARE = 0.25, 0.68
"""Largest accepted velocity error: absolute, and as a fraction of the error of a robot that stands
still (0.37 m/s for a Lite3). For turning, only the fraction applies."""
DRAWN_ROWS = 256
_DRAWN_APART = ("quat_xyzw", "gravity_body", "velocity_command")
"""Fields drawn separately, because of their unit length, dependence on other fields, or stated
range.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """Commands and disturbances of a healthy robot during a measurement."""

    schedule: Schedule
    duration_s: float
    latency_ns: int
    """Delay until commands reach the drives; on a real robot it is never 0."""
    faults: tuple[Fault, ...] = ()
    ground: Ground = LEVEL


def figure_source(robot: SimulatedRobot, what: str = _WALKS) -> str:
    """Describe the simulation in which a robot's nominal values are measured."""
    lies = robot.model is None and robot.body.starts == "lying"
    start = "stand up from lying" if lies else "stand"
    return f"{robot.name}, flat floor, lockstep: {start}, {what}"


def walks(contract: JointContract, robot: SimulatedRobot = LITE3) -> tuple[Walk, ...]:
    """Return the walks from which `nominal` is measured."""
    commands = [robot.velocity(contract, command) for command in _COMMANDS]
    axes = evenly_timed(commands, each_s=_EACH_S, first_s=_EACH_S)
    axes_s = _EACH_S * (len(_COMMANDS) + 1)
    return (
        Walk(schedule=axes, duration_s=axes_s, latency_ns=0),
        Walk(schedule=axes, duration_s=axes_s, latency_ns=20_000_000),
        Walk(schedule=_mixed(contract), duration_s=_MIXED_S, latency_ns=10_000_000),
    )


def motions(
    bundle: JointBundle, clip: MotionClip, robot: SimulatedRobot = LITE3
) -> tuple[Walk, ...]:
    """Return the runs from which `nominal` is measured for a clip, each over the whole clip.

    Robots described by a `figures.yaml` are pushed in some runs; MuJoCo models are not.
    """
    contract, pushed = bundle.contract, robot.model is None
    stand_s = contract.stand.duration_s + sum(via.duration_s for via in contract.stand.via)
    begin_s, motion_s = stand_s + _BEFORE_S, len(clip.joint_pos) / contract.rate_hz
    return tuple(
        Walk(
            schedule=[],
            duration_s=begin_s + motion_s + _AFTER_S,
            latency_ns=latency_ns,
            faults=(push_from(side, newton=_MOTION_PUSH_N, at_s=begin_s + share * motion_s),)
            if pushed and side
            else (),
        )
        for latency_ns, side, share in _MOTION_RUNS
    )


def _mixed(contract: JointContract) -> Schedule:
    """Return commands within the trained range that change on all axes simultaneously."""
    trained = contract.velocity_command
    if trained is None:
        return []
    random, count = np.random.default_rng(_MIXED_SEED), int(_MIXED_S / _MIXED_EACH_S)
    commands = random.uniform(trained.min, trained.max, (count, 3))
    return evenly_timed(commands.tolist(), each_s=_MIXED_EACH_S, first_s=_MIXED_EACH_S)


def simulated_walks(
    bundle: JointBundle, robot: SimulatedRobot = LITE3, climb: Walk | None = None
) -> MeasuredRuns:
    """Run the bundle's walks or motion in simulation, and `climb`, if given, on its own ground."""
    if climb is not None:
        what = f"{_WALKS}, and {climb.ground.terrain} of {climb.ground.step_m:g} m"
        wanted, source = (*walks(bundle.contract, robot), climb), figure_source(robot, what)
    elif bundle.clip is None:
        wanted, source = walks(bundle.contract, robot), figure_source(robot)
    else:
        wanted, source = motions(bundle, bundle.clip, robot), figure_source(robot, _MOTIONS)
    runs = [_walk(bundle, each, robot, source) for each in wanted]
    return MeasuredRuns(source=source, runs=runs)


def _walk(bundle: JointBundle, wanted: Walk, robot: SimulatedRobot, source: str) -> HealthyRun:
    contract = bundle.contract
    backend, _ = open_backend(bundle, ["onnx"])
    recorder = RecordingBackend(backend)
    try:
        policy = ControlledPolicy(bundle, recorder, robot=robot, mapper=Mapper(wanted.ground))
        case = WalkCase(name=contract.name, group="", schedule=[], ground=wanted.ground)
        world = robot.world(contract, case)
        world.latency_ns = wanted.latency_ns
        trace = walk(
            world,
            policy,
            wanted.schedule,
            duration_s=wanted.duration_s,
            rate_hz=contract.rate_hz,
            faults=FaultPlan(list(wanted.faults)),
            until=None,
            watch=policy.estimated.watch if policy.estimated else None,
        )
    except SimError as error:
        raise ToolError(f"{bundle.path}: {error}") from error
    finally:
        recorder.close()
    metrics = measure(
        trace, effort_limit_nm=world.effort_limit_nm, fallen_height_m=world.fallen_height_m
    )
    _require_health(contract.name, policy, metrics, robot)
    begin = contract.stand.position
    order = [world.joint_names.index(name) for name in contract.joints.on_robot()]
    return HealthyRun(rows=_rows(contract, recorder, trace, order, source), begin=begin)


def _rows(
    contract: JointContract, recorder: RecordingBackend, trace: Trace, order: list[int], source: str
) -> Rows:
    """Return the rows of the ticks in RUN, which are the last ticks of the walk."""
    tensors, model = recorder.recorded(), contract.model
    ticks = slice(-recorder.runs, None)
    return Rows(
        source=source,
        inputs={name: tensors[name] for name in model.inputs},
        outputs={name: tensors[name] for name in model.outputs},
        sensed={
            "joint_pos": trace.joint_pos[ticks, order],
            "joint_vel": trace.joint_vel[ticks, order],
        },
    )


def _require_health(
    name: str, policy: ControlledPolicy, metrics: WalkMetrics, robot: SimulatedRobot
) -> None:
    snapshot = policy.controller.snapshot()
    if snapshot.mode is not Mode.RUN or metrics.falls:
        raise VerdictError(
            f"{name}: expected a walk in RUN without a fall, found falls: {metrics.falls}, mode: "
            f"{snapshot.mode.name} ({snapshot.reason}); {_REMEDY}"
        )
    commands = np.array([segment.command for segment in metrics.segments] or [(0.0, 0.0, 0.0)])
    still_mps = float(np.mean(np.hypot(commands[:, 0], commands[:, 1])))
    still_radps = float(np.mean(np.abs(commands[:, 2])))
    largest_mps = _LARGEST_ERROR_MPS if robot.model is None else _LARGEST_ERROR_SHARE * still_mps
    _require_following(name, metrics.mean_velocity_error_mps, largest_mps, "m/s", still_mps)
    _require_following(
        name,
        metrics.mean_turn_error_radps,
        _LARGEST_ERROR_SHARE * still_radps,
        "rad/s",
        still_radps,
    )


def _require_following(name: str, error: float, largest: float, unit: str, still: float) -> None:
    """Raise unless the mean error is at most `largest`; `still` is the error of a robot at rest."""
    if still and error > largest:
        raise VerdictError(
            f"{name}: expected a mean tracking error of at most {largest:.2g} {unit}, found "
            f"{error:.2f}; {_REMEDY}"
        )


def drawn_rows(bundle: JointBundle) -> Rows:
    """Return the model's inputs and outputs in ticks with random states, the same in each call.

    They prove that another back end or machine computes the same outputs; no robot moves like this.
    The tick count covers its whole range; see `last_ticks`.
    """
    last = max(
        last_ticks(bundle.contract, read_onnx(bundle.artifact("onnx")[1])).values(), default=0
    )
    backend, _ = open_backend(bundle, ["onnx"])
    recorder = RecordingBackend(backend)
    state = RobotState(bundle.contract)
    policy, draw = JointPolicy(bundle, recorder, state), _drawing(bundle.contract, state)
    try:
        for tick in np.linspace(0, last, DRAWN_ROWS).round():
            draw()
            if (count := state.get("tick")) is not None:
                count[0] = tick
            if not policy.infer():
                raise ToolError(
                    f"{bundle.path}: expected a model with finite outputs around the "
                    "default position, found NaN or infinity; check its weights and the contract"
                )
            policy.commit()
    finally:
        recorder.close()
    tensors, model = recorder.recorded(), bundle.contract.model
    return Rows(
        source="drawn around the default position",
        inputs={name: tensors[name] for name in model.inputs},
        outputs={name: tensors[name] for name in model.outputs},
    )


def _drawing(contract: JointContract, state: RobotState) -> Callable[[], None]:
    """Return a function that draws a new state: everything measured, commanded or remembered."""
    random = np.random.default_rng(0)
    measured = [
        field
        for field in STATE_FIELDS.values()
        if field.name in state.slices and field.name not in _DRAWN_APART
    ]
    # The last action too: fed back without a robot, it may grow without bound.
    others = [
        name
        for name in state.slices
        if name == "last_action" or name.startswith((EXTERNAL, LAST_OUTPUT))
    ]

    def draw() -> None:
        for field in measured:
            values = state[field.name]
            values[:] = random.normal(0.0, field.drawn_std, values.size) + (field.at_rest or 0.0)
        state["joint_pos"][:] += contract.joints.default_position
        for name in others:
            state[name][:] = random.normal(0.0, 1.0, state[name].size)
        if (quat := state.get("quat_xyzw")) is not None:
            tilt = random.normal(0.0, STATE_FIELDS["quat_xyzw"].drawn_std, 3)
            turned = np.append(tilt, 1.0)
            quat[:] = turned / np.linalg.norm(turned)
        if contract.velocity_command and "velocity_command" in state.slices:
            trained = contract.velocity_command
            state["velocity_command"][:] = random.uniform(trained.min, trained.max)
        state.derive()

    return draw
