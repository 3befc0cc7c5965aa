# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy bundle makes a simulated robot walk, over real topics.

    python -m examples.demos.walk --lockstep --no-images --bundle my_bundle --output out/my_walk

The output folder contains summary.json, which --json prints, the recorded walk, plots and a video.
"""

import argparse
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from examples.demos.plots import IMAGE_FILES, draw_walk
from examples.demos.runner import (
    FLIGHTS,
    DemoOutcome,
    LoggedProcess,
    Processes,
    add_images,
    aligned,
    demo_parser,
    emptied,
    guard_events,
    progress,
    require_velocity_source,
    run_demo,
    start_estimator,
)
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import Mode
from robot_operator.nodes.client import Operator
from robot_operator.requests import OperatorError
from robot_sim.errors import SimError
from robot_sim.figures import LITE3, LeggedRobot, load_robot, robot_names
from robot_sim.metrics import SETTLE_S, WalkMetrics, fallen, measure
from robot_sim.trace import Trace

BUNDLES = {"lite3": "lite3_walk", "go2": "go2_walk"}
"""The suite's own walking policies."""
EMULATED = {"go2_emulator": ("go2", "go2_driver")}
"""Robots that are simulated behind their own driver, which works only in real time: name of the
emulated robot, and command that starts the driver.
"""
Velocity = tuple[float, float, float]
PLAN: Sequence[tuple[str, float, Velocity]] = (
    ("stand", 2.0, (0.0, 0.0, 0.0)),
    ("forward", 7.0, (0.8, 0.0, 0.0)),
    ("forward in a curve", 5.0, (0.5, 0.0, 0.6)),
    ("turn", 5.0, (0.0, 0.0, 0.8)),
    ("sideways", 5.0, (0.0, 0.4, 0.0)),
    ("stop", 3.0, (0.0, 0.0, 0.0)),
)
"""Name, duration (s) and velocity (m/s, m/s, rad/s, body frame) of each step."""
PLAN_S = sum(duration_s for _, duration_s, _ in PLAN)
TRACE = "trace.npz"
LARGEST_TILT_DEG, LARGEST_ERROR_MPS = 25.0, 0.3
LOWEST_SHARE = 0.575
"""Minimum height of the walking robot, as a fraction of its standing height."""
_STAND_TRIES = 3
_CONTROL_TRIES = 10
"""Maximum number of requests for control; the driver needs a few seconds of states for its start
checks.
"""
_LEAD_IN_S = 0.5
_SIGNS_OF_A_WRONG_CONTRACT = ("attitude", "clipped_too_long")


def main(args: Sequence[str] | None = None) -> int:
    """Run the demo; the exit status is 1 if the walk failed (see `verdict`)."""
    given = parse(args)
    require_bundle = partial(_require_bundle, robot=given.robot, lockstep=given.lockstep)
    return run_demo("walk", given, (TRACE, *IMAGE_FILES), _demonstrate, require_bundle)


def _demonstrate(given: argparse.Namespace) -> DemoOutcome:
    robot = load_robot(_simulated(given.robot))
    reported = _perform(given)
    trace = Trace.load(given.output / TRACE)
    metrics = measured(trace, reported, robot)
    return DemoOutcome(
        summary=summarise(metrics, reported),
        backend=reported.backend,
        fallback=reported.fallback,
        table=table(metrics, reported),
        failure=verdict(
            metrics,
            reported,
            lockstep=given.lockstep,
            robot=robot,
            emulated=given.robot in EMULATED,
        ),
        draw=lambda: draw_walk(shown(trace), given.output, robot),
    )


def _perform(given: argparse.Namespace) -> "ReportedTiming":
    """Make a robot stand up, walk according to the plan, stop and lie down."""
    output, lockstep = given.output, given.lockstep
    with Processes() as nodes:
        odometry = start_estimator(nodes, given.bundle, output)
        driver = _start_robot(nodes, output, given.robot, odometry, lockstep=lockstep)
        policy = {
            "bundle": given.bundle,
            "backend": given.backend,
            "backend_options": ",".join(given.backend_option),
            "use_sim_time": lockstep,
            "flight.folder": str(emptied(output / FLIGHTS).resolve()),
        }
        nodes.start("joint_policy_node", policy, output / "joint_policy_node.log")
        with Operator(driver_node=driver, use_sim_time=lockstep, watch=nodes.check) as operator:
            operator.wait_for_robot()
            if driver is not None:
                _take_control(operator)
            return operate(operator, PLAN, given.seconds / PLAN_S)


def _start_robot(
    nodes: Processes, output: Path, robot: str, odometry: Mapping[str, str], *, lockstep: bool
) -> str | None:
    """Start a simulated robot that writes the trace; return the name of its driver, if any.

    `odometry` renames the simulator's own odometry.
    """
    trace_file = str(output / TRACE)
    if robot not in EMULATED:
        simulation = {
            "robot": robot,
            "trace_file": trace_file,
            "lockstep": lockstep,
            "joint_state_rate_hz": 200.0,
        }
        nodes.start("sim_node", simulation, output / "sim_node.log", remappings=odometry)
        return None
    emulated, driver = EMULATED[robot]
    words = ["unitree_emulator", "--robot", emulated, "--interface", "lo"]
    words += ["--trace-file", trace_file]
    nodes.add(LoggedProcess(words, output / "unitree_emulator.log"))
    parameters = {
        "network_interface": "lo",
        "domain_id": int(os.environ["ROS_DOMAIN_ID"]),
        "remote_required": False,
    }
    nodes.start(driver, parameters, output / f"{driver}.log")
    return driver


def _take_control(operator: Operator) -> None:
    for _ in range(_CONTROL_TRIES):
        agreed, message = operator.request("take_control")
        if agreed:
            return
        operator.wait(1.0)
    raise SimError(f"take_control: {message}")


def operate(
    operator: Operator, plan: Sequence[tuple[str, float, Velocity]], scale: float = 1.0
) -> "ReportedTiming":
    """Make the robot stand up, follow a plan with scaled durations, and lie down."""
    progress.info("stand up")
    operator.record_run(True)
    _stand_up(operator)
    for name, duration_s, velocity in plan:
        progress.info("%s, %.1f s", name, scale * duration_s)
        operator.move(*velocity)
        operator.wait(scale * duration_s)
        if operator.mode not in ("RUN", "HOLD"):
            progress.warning("the policy node left RUN: %s", operator.status.reason)
            break
    running = operator.status
    if operator.mode == "RUN":  # so that the legs are under the robot when it lies down
        operator.demand("stand")
        operator.wait_for_mode("READY")
    operator.demand("damp")
    operator.wait_for_mode("DAMP")
    reported = ReportedTiming.of(running, operator.status)
    operator.let_go()
    operator.wait(2.0)  # until the robot lies down
    return reported


def _stand_up(operator: Operator) -> None:
    """Stand up and run the policy; retry, since robot states may be late on a busy machine."""
    for tries_left in reversed(range(_STAND_TRIES)):
        try:
            operator.stand_up()
        except OperatorError as error:
            if not tries_left or operator.mode != "DAMP":
                raise
            progress.warning("%s; retrying", error)
            operator.wait(1.0)
        else:
            return


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedTiming:
    """What the policy node reported about itself while it ran the policy.

    Attributes:
        bundle: Name of the bundle's folder.
        backend: Name of the back end.
        runs_on: Runtime and device.
        fallback: Why each earlier back end in the list did not open, one line each.
        ticks: Ticks since the node was activated, including those in STAND.
        ticks_missed: Number of deadlines since activation at which no tick could start.
        latency_ms: Median, 99th percentile and maximum time from sampling to published command.
        guard_events: Number of times that each guard rule acted; rules that never acted are left
            out.
        left_run: True if the policy node left RUN on its own; a HOLD that recovers does not count.
        reason: Reason for the last mode.
    """

    bundle: str
    backend: str
    runs_on: str
    fallback: str
    ticks: int
    ticks_missed: int
    latency_ms: tuple[float, float, float]
    guard_events: dict[str, int]
    left_run: bool
    reason: str

    @classmethod
    def of(cls, running: Any, ended: Any) -> "ReportedTiming":
        """Extract the report from two policy_msgs/PolicyStatus messages.

        Args:
            running: The newest status before DAMP was requested. Its latencies were measured in
                RUN.
            ended: The first status in DAMP. It includes latched faults that occurred after
                `running`.
        """
        latency_s = (running.latency_p50_s, running.latency_p99_s, running.latency_max_s)
        p50, p99, longest = (1e3 * value for value in latency_s)
        return cls(
            bundle=Path(ended.bundle).name,
            backend=ended.backend,
            runs_on=ended.runs_on,
            fallback=ended.fallback,
            ticks=ended.ticks,
            ticks_missed=ended.ticks_missed,
            latency_ms=(p50, p99, longest),
            guard_events=guard_events(ended),
            left_run=ended.latched or running.mode not in (Mode.RUN, Mode.HOLD),
            reason=ended.reason,
        )


def walked(trace: Trace, *, left_run: bool) -> Trace:
    """Return the part of a trace in which the policy ran; to the trace's end if the node left RUN.

    Lying down on request is not a fall, so it must not count; the time after a fault must count.
    """
    run = np.flatnonzero(trace.mode == Mode.RUN)
    if not len(run):
        raise SimError("trace: expected rows in RUN, found none; the policy never ran")
    last = np.flatnonzero(np.isin(trace.mode, (Mode.RUN, Mode.HOLD)))[-1]
    return trace.rows(slice(run[0], None if left_run else last + 1))


def shown(trace: Trace) -> Trace:
    """Return the part of a trace that starts half a second before the robot stands up."""
    rows = np.flatnonzero(trace.mode > 0.0)
    if not len(rows):
        raise SimError("trace: expected rows in STAND, found none; the robot never moved")
    first = np.searchsorted(trace.time_s, trace.time_s[rows[0]] - _LEAD_IN_S)
    return trace.rows(slice(int(first), None))


def measured(trace: Trace, reported: ReportedTiming, robot: LeggedRobot = LITE3) -> WalkMetrics:
    """Measure the tracking while the policy ran, and whether the robot stayed on its feet.

    A robot that is down when the policy starts counts as fallen. After a fault, the robot stands
    still or lies down, which says nothing about tracking but may be a fall.
    """
    up = walked(trace, left_run=reported.left_run)
    figures: Any = {
        "effort_limit_nm": robot.effort_limit_nm,
        "fallen_height_m": robot.fallen_height_m,
    }
    whole = measure(up, **figures)
    fell_before = bool(fallen(up.quat_xyzw[0], up.pos_world[0], robot.fallen_height_m))
    return replace(
        measure(walked(trace, left_run=False), **figures),
        falls=whole.falls + fell_before,
        max_tilt_deg=whole.max_tilt_deg,
        min_height_m=whole.min_height_m,
    )


def summarise(metrics: WalkMetrics, reported: ReportedTiming) -> dict[str, Any]:
    """Return the content of `summary.json`; values that could not be measured are None."""
    error_mps = metrics.mean_velocity_error_mps
    latencies = zip(("p50", "p99", "max"), reported.latency_ms, strict=True)
    return {
        "bundle": reported.bundle,
        "duration_s": round(metrics.duration_s, 3),
        "distance_m": round(metrics.distance_m, 3),
        "mean_velocity_error_mps": round(error_mps, 4) if math.isfinite(error_mps) else None,
        "max_tilt_deg": round(metrics.max_tilt_deg, 2),
        "falls": metrics.falls,
        "guard_events": reported.guard_events,
        "ticks_since_activation": reported.ticks,
        "ticks_missed_since_activation": reported.ticks_missed,
        "latency_ms": {name: round(value, 4) for name, value in latencies},
    }


def table(metrics: WalkMetrics, reported: ReportedTiming) -> str:
    """Return the results as text."""
    p50, p99, longest = reported.latency_ms
    events = ", ".join(f"{name} {count}" for name, count in reported.guard_events.items())
    covered = "from RUN to the end" if reported.left_run else "while the policy ran"
    lines = [
        ("policy", f"{reported.bundle} on {reported.backend} ({reported.runs_on})"),
        ("walked", f"{metrics.distance_m:.1f} m in {metrics.duration_s:.1f} s"),
        ("mean velocity error", _error(metrics.mean_velocity_error_mps, "m/s")),
        ("mean turn error", _error(metrics.mean_turn_error_radps, "rad/s")),
        ("largest tilt", f"{metrics.max_tilt_deg:.1f} degrees, {covered}"),
        ("falls", f"{metrics.falls}"),
        ("guard events", events or "none"),
        ("ticks", f"{reported.ticks} since activation, {reported.ticks_missed} missed"),
        ("latency", f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, max {longest:.2f} ms"),
    ]
    return aligned(lines)


def _error(value: float, unit: str) -> str:
    if math.isfinite(value):
        return f"{value:.3f} {unit}"
    return f"not measured: no command lasted longer than {SETTLE_S:g} s"


def verdict(
    metrics: WalkMetrics,
    reported: ReportedTiming,
    *,
    lockstep: bool,
    robot: LeggedRobot = LITE3,
    emulated: bool = False,
) -> str | None:
    """Judge a walk on flat ground.

    Args:
        metrics: Metrics of the time in which the robot should have been on its feet.
        reported: The policy node's report.
        lockstep: True if simulated time waited for the policy node, so a busy machine had no
            effect.
        robot: The robot that walked.
        emulated: True if an emulator was the robot, which cannot run in lockstep.

    Returns:
        None for a good walk: the policy ran to the end, the robot neither fell nor tilted by more
        than 25 degrees nor sank far, and its mean velocity error was at most 0.3 m/s, if it could
        be measured. Otherwise, all causes with their remedies, in one line.
    """
    # A robot that fell was also unsteady and did not follow: these are not separate causes.
    causes = _failed(metrics, reported) or _faults_of_walking(metrics, robot)
    if not causes:
        return None
    if reported.ticks_missed and not lockstep:
        causes.append(
            f"{reported.ticks_missed} ticks were missed, so this machine may be too busy for "
            f"real time: {'stop other programs' if emulated else 'try --lockstep'}"
        )
    elif not reported.left_run or reported.reason.startswith(_SIGNS_OF_A_WRONG_CONTRACT):
        causes.append("check joint order, term order and scales of the contract")
    return "; ".join(causes)


def _failed(metrics: WalkMetrics, reported: ReportedTiming) -> list[str]:
    causes = []
    if reported.left_run:
        causes.append(f"the policy node left RUN without a request ({reported.reason})")
    # A damped robot sinks to the ground, which is not a cause.
    if metrics.falls and not (reported.left_run and not reported.reason.startswith("attitude")):
        times = "once" if metrics.falls == 1 else f"{metrics.falls} times"
        causes.append(f"the robot fell {times}")
    return causes


def _faults_of_walking(metrics: WalkMetrics, robot: LeggedRobot) -> list[str]:
    lowest_m = round(LOWEST_SHARE * robot.poses.standing.height_m, 2)
    causes = []
    if metrics.max_tilt_deg > LARGEST_TILT_DEG:
        causes.append(
            f"the robot is unsteady: expected a tilt of at most {LARGEST_TILT_DEG:g} "
            f"degrees on flat ground, found {metrics.max_tilt_deg:.1f}"
        )
    if metrics.min_height_m < lowest_m:
        causes.append(
            f"the robot does not stay up: expected its body at {lowest_m:g} m or more, "
            f"found {metrics.min_height_m:.2f} m"
        )
    if metrics.mean_velocity_error_mps > LARGEST_ERROR_MPS:
        causes.append(
            "the robot does not follow its commands: expected a mean velocity error of "
            f"at most {LARGEST_ERROR_MPS:g} m/s, found {metrics.mean_velocity_error_mps:.2f} m/s"
        )
    return causes


def _require_bundle(bundle: str, robot: str, *, lockstep: bool) -> None:
    _require_joints(bundle, robot)
    driver = EMULATED[robot][1] if robot in EMULATED else None
    require_velocity_source(bundle, lockstep=lockstep, driver=driver)


def _require_joints(bundle: str, robot: str) -> None:
    """Unless a robot has a bundle's joints, raise a SimError that names suitable robots."""
    joints = set(load_bundle(bundle, kind=JointBundle).contract.joints.on_robot())
    others = sorted(joints - {*load_robot(_simulated(robot)).joint_names})
    if not others:
        return
    fit = [f"--robot {name}" for name in robot_names() if joints <= {*load_robot(name).joint_names}]
    more = f" and {len(others) - 1} more" if others[1:] else ""
    raise SimError(
        f"{bundle}: expected a policy for the joints of {robot}, found {others[0]}{more}, which "
        f"{robot} lacks; {' or '.join(fit) or 'no robot here'} has all joints of the policy"
    )


def _simulated(robot: str) -> str:
    """Return the simulated robot, whether or not it is behind a driver."""
    return EMULATED.get(robot, (robot,))[0]


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments; exit with status 2 if they do not fit together."""
    parser = demo_parser("walk", __doc__, backend_options=True)
    parser.add_argument(
        "--robot",
        default="lite3",
        help="which robot: lite3, go2, g1 (with --bundle), go2_emulator (with its driver), or a "
        "folder of figures (default: %(default)s)",
    )
    parser.add_argument(
        "--bundle",
        help="folder of a bundle, or name of an installed one (default: the robot's own, "
        "lite3_walk or go2_walk)",
    )
    parser.add_argument(
        "--seconds",
        type=_positive,
        default=PLAN_S,
        help="how long to walk, s (default: %(default)g)",
    )
    parser.add_argument(
        "--lockstep",
        action="store_true",
        help="run in simulated time, where the simulator waits for each command, instead of in "
        "real time",
    )
    add_images(parser)
    given = parser.parse_args(args)
    if given.lockstep and given.robot in EMULATED:
        parser.error(
            f"--lockstep: expected a simulator, found {given.robot}, which runs in real time"
        )
    simulated = _simulated(given.robot)
    try:
        load_robot(simulated)
    except SimError as error:
        parser.error(
            f"--robot: {error}; {', '.join(EMULATED)} is accepted as well (an emulator, run with "
            "its driver)"
        )
    if given.bundle is None and simulated not in BUNDLES:
        parser.error(
            f"--bundle: expected a policy bundle for {given.robot}, found none; the suite includes "
            f"bundles only for {', '.join(BUNDLES)}: name one of yours (make: BUNDLE=dir)"
        )
    given.bundle = given.bundle or BUNDLES[simulated]
    return given


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 < value <= 3600.0:
        raise argparse.ArgumentTypeError(f"expected a number in (0, 3600], found {text}")
    return value


if __name__ == "__main__":
    raise SystemExit(main())
