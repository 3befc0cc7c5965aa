# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the simulated Lite3 in lockstep with the program `walk`, over pipes.

    python lite3.py build/walk

Makes the plan of the bundle lite3_walk, starts `walk` with it, and prints how far the robot walks.
The exit status is 1 if the robot falls or walks less than 2 m.
"""
# run: before: |
# run:   cmake -S src/policy_core_cpp -B build/example -DPOLICY_CORE_EXAMPLES=ON
# run:   cmake --build build/example --target walk
# run: swap: {lite3.py: src/policy_core_cpp/examples/lite3.py, build/walk: build/example/walk}

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime

from model_tools.prove.inspect.plans import make_plan
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from robot_sim.figures import Array
from robot_sim.walk import walk
from robot_sim.world import DriveCommand, Sensors, World

_SECONDS, _SPEED_M_S, _LEAST_M = 10.0, 0.5, 2.0
_STANDS_NS = 4_000_000_000
"""Time by which the robot must have stood up; before that, lying does not count as fallen."""


def main(program: str) -> int:
    """Run `walk` with the simulated robot; return the exit status."""
    bundle, world = load_bundle("lite3_walk", kind=JointBundle), World(pose="lying")
    names = bundle.contract.joints.on_robot()
    order = [world.joint_names.index(name) for name in names]
    _, model = bundle.artifact("onnx")
    library = next(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*"))
    with tempfile.NamedTemporaryFile(suffix=".polplan") as plan:
        Path(plan.name).write_bytes(make_plan(bundle))
        words = [program, plan.name, bundle.sha256, str(model), str(library)]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as walker:
            assert walker.stdin is not None
            assert walker.stdout is not None
            sent, answers = walker.stdin, walker.stdout

            def policy(sensors: Sensors, command: Array) -> DriveCommand:
                values = (
                    sensors.joint_pos[order],
                    sensors.joint_vel[order],
                    sensors.quat_xyzw,
                    sensors.ang_vel_body,
                    command,
                )
                sent.write(np.int64(sensors.time_ns).tobytes())
                sent.write(np.concatenate(values).tobytes())
                sent.flush()
                targets = np.frombuffer(answers.read(6 * len(names) * 8)).reshape(6, -1)
                return DriveCommand(
                    joint_names=names,
                    position=targets[0],
                    velocity=targets[1],
                    effort=targets[2],
                    stiffness=targets[3],
                    damping=targets[4],
                    effort_limit=targets[5],
                    valid_for_ns=100_000_000,
                )

            walk(
                world,
                policy,
                [(0.0, (_SPEED_M_S, 0.0, 0.0))],
                duration_s=_SECONDS,
                until=lambda world: world.time_ns > _STANDS_NS and world.fallen,
            )
            sent.close()
    way_m = float(world.sense().pos_world[0])
    end = "fell" if world.fallen else "walked"
    sys.stdout.write(f"{end}: {way_m:.2f} m in {world.time_ns / 1e9:g} s, standing up included\n")
    return int(world.fallen or way_m < _LEAST_M)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", help="walk, as CMake builds it")
    sys.exit(main(parser.parse_args().program))
