# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated robot climbs stairs, commanded over real topics by a policy with a height scan.

    python -m examples.demos.stairs --bundle lite3_stairs --output out/my_stairs

The output folder contains summary.json, which --json prints, the recorded walk, plots, and a video
that shows the scan points.
"""
# run: real_time: yes

import argparse
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from examples.demos.plots import IMAGE_FILES, draw_walk
from examples.demos.runner import (
    FLIGHTS,
    DemoOutcome,
    Processes,
    add_images,
    aligned,
    demo_parser,
    emptied,
    require_velocity_source,
    run_demo,
    start_estimator,
)
from examples.demos.walk import TRACE, ReportedTiming, Velocity, operate, shown, walked
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from robot_operator.nodes.client import Operator
from robot_sim.figures import LITE3, Array
from robot_sim.ground import Ground
from robot_sim.metrics import fallen
from robot_sim.rotation import place_level
from robot_sim.trace import Trace

ROBOT, BUNDLE = "lite3", "lite3_stairs"
STEP_M, STEPS = 0.1, 5
GROUND = Ground(terrain="stairs", step_m=STEP_M)
PLAN: Sequence[tuple[str, float, Velocity]] = (
    ("stand", 2.0, (0.0, 0.0, 0.0)),
    ("up the stairs", 5.0, (0.5, 0.0, 0.0)),
    ("stop", 2.0, (0.0, 0.0, 0.0)),
)
_LOCKSTEP_SPEED = 0.5
"""Simulation speed relative to real time; slow, since simulated time does not wait for the scan."""
_CLIMBED_SHARE = 0.8
"""Minimum rise of the base, as a fraction of the stairs' height."""


def main(args: Sequence[str] | None = None) -> int:
    """Run the demo; the exit status is 1 if the robot fell or did not climb the stairs."""
    given = parse(args)
    require_source = partial(require_velocity_source, lockstep=given.lockstep)
    return run_demo("stairs", given, (TRACE, *IMAGE_FILES), _demonstrate, require_source)


def _demonstrate(given: argparse.Namespace) -> DemoOutcome:
    reported = _perform(given)
    trace = Trace.load(given.output / TRACE)
    up = walked(trace, left_run=reported.left_run)
    climbed_m = float(up.pos_world[:, 2].max() - up.pos_world[0, 2])
    fell = any(
        fallen(quat, above, LITE3.fallen_height_m)
        for quat, above in zip(up.quat_xyzw, _above_ground(up), strict=True)
    )
    summary: dict[str, Any] = {
        "bundle": reported.bundle,
        "step_m": STEP_M,
        "climbed_m": round(climbed_m, 3),
        "distance_m": round(float(np.linalg.norm(up.pos_world[-1] - up.pos_world[0])), 3),
        "fell": fell,
        "guard_events": reported.guard_events,
        "ticks_missed_since_activation": reported.ticks_missed,
    }
    return DemoOutcome(
        summary=summary,
        backend=reported.backend,
        fallback=reported.fallback,
        table=aligned([(name.replace("_", " "), f"{value}") for name, value in summary.items()]),
        failure=_failure(reported, climbed_m, fell=fell),
        draw=lambda: _draw(given, shown(trace)),
    )


def _failure(reported: ReportedTiming, climbed_m: float, *, fell: bool) -> str | None:
    if reported.left_run:
        return f"the policy node left RUN without a request ({reported.reason})"
    if fell:
        return "the robot fell"
    least_m = _CLIMBED_SHARE * STEPS * STEP_M
    if climbed_m < least_m:
        return f"expected the robot to climb {least_m:g} m or more, found {climbed_m:.2f} m"
    return None


def _perform(given: argparse.Namespace) -> ReportedTiming:
    """Start the robot, its map, the scan and the policy; climb the stairs."""
    output, lockstep = given.output, given.lockstep
    with Processes() as nodes:
        simulation = {
            "robot": ROBOT,
            "trace_file": str(output / TRACE),
            "terrain": GROUND.terrain,
            "step_m": STEP_M,
            "elevation_map": True,
            "joint_state_rate_hz": 200.0,
            **({"lockstep": True, "lockstep_speed": _LOCKSTEP_SPEED} if lockstep else {}),
        }
        pose = start_estimator(nodes, given.bundle, output)
        nodes.start("sim_node", simulation, output / "sim_node.log", remappings=pose)
        perception = {"bundle": given.bundle, "use_sim_time": lockstep}
        log = output / "perception_node.log"
        nodes.start("perception_node", perception, log, remappings=pose)
        policy = {
            "bundle": given.bundle,
            "backend": given.backend,
            "backend_options": ",".join(given.backend_option),
            "use_sim_time": lockstep,
            "flight.folder": str(emptied(output / FLIGHTS).resolve()),
        }
        nodes.start("joint_policy_node", policy, output / "joint_policy_node.log")
        with Operator(use_sim_time=lockstep, watch=nodes.check) as operator:
            operator.wait_for_robot()
            return operate(operator, PLAN)


def _above_ground(trace: Trace) -> Array:
    """Return base positions [T, 3], m, with heights measured from the ground below."""
    ground = GROUND.height_m(trace.pos_world[:, :2])
    return trace.pos_world - np.pad(ground[:, None], ((0, 0), (2, 0)))


def _draw(given: argparse.Namespace, trace: Trace) -> None:
    (scan,) = load_bundle(given.bundle, kind=JointBundle).contract.scans.values()

    def dots(row: int) -> Array:
        place = place_level(scan.points, trace.pos_world[row], trace.quat_xyzw[row])
        return np.column_stack([place[:, :2], GROUND.height_m(place[:, :2])])

    draw_walk(trace, given.output, ground=GROUND, dots=dots)


def parse(args: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments; exit with status 2 if they do not fit together."""
    parser = demo_parser("stairs", __doc__, backend_options=True)
    parser.add_argument("--robot", default=ROBOT, help="only %(default)s has a policy for stairs")
    parser.add_argument(
        "--bundle",
        default=BUNDLE,
        help="policy for a Lite3 with a height scan: folder of a bundle, or name of an installed "
        "one (default: %(default)s)",
    )
    parser.add_argument(
        "--lockstep",
        action="store_true",
        help="run at half speed in simulated time, where the simulator waits for each command",
    )
    add_images(parser)
    given = parser.parse_args(args)
    if given.robot != ROBOT:
        parser.error(
            f"--robot: expected {ROBOT}, the only robot with a policy for stairs, found "
            f"{given.robot}; use examples.demos.walk (make demo TASK=walk)"
        )
    return given


if __name__ == "__main__":
    raise SystemExit(main())
