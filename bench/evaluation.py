# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Cost of a trial of `model_tools evaluate`, beside bare physics of the same robot.

Processor time per simulated second, so that a busy machine has little influence. The baseline steps
the same model with `mujoco.rollout`: no policy, no sensors, no controller.
"""

import time
from collections.abc import Callable

import mujoco
import mujoco.rollout
import numpy as np

from bench.figures import Figure, Summary, alternated
from bench.processes import BUNDLE
from model_tools.prove.trial import try_case
from model_tools.simulation.robot import WalkCase, mixed
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_inference.backends.registry import open_backend
from robot_sim.drives import write_pd_law
from robot_sim.world import World

_TURNS, _SECONDS, _MS = 5, 10.0, 1e3
_STIFFNESS, _DAMPING = 40.0, 1.0
_WANTED = 1.0 / 0.35
"""A trial runs at 0.35 of the speed of bare physics or faster."""


def measure() -> list[Figure]:
    """Take turns, each a trial and the same duration of bare physics."""
    bundle = load_bundle(BUNDLE, kind=JointBundle)
    backend, _ = open_backend(bundle, ["onnx"])
    case = WalkCase(
        name="bench",
        group="bench",
        schedule=mixed(_SECONDS, seed=1),
        duration_s=_SECONDS,
        limits=None,
    )
    try:
        simulated_s = [0.0]

        def trial() -> None:
            outcome, trace = try_case(bundle, backend, case)
            assert outcome.survived
            simulated_s[0] = float(trace.time_s[-1])

        bare = _bare_physics(_SECONDS)
        return [
            alternated(
                "evaluation_trial_ratio",
                lambda: Summary(value=_MS * _processor_s(trial) / simulated_s[0]),
                lambda: Summary(value=_MS * _processor_s(bare) / _SECONDS),
                blocks=_TURNS,
                wanted=_WANTED,
                unit="ms/s",
            )
        ]
    finally:
        backend.close()


def _bare_physics(seconds: float) -> Callable[[], object]:
    """Return a function that simulates the standing robot for this duration."""
    world = World(pose="standing")
    model, sensed = world.model, world.sense()
    data, zeros = mujoco.MjData(model), np.zeros(len(sensed.joint_pos))
    data.qpos[:] = [*sensed.pos_world, *np.roll(sensed.quat_xyzw, 1), *sensed.joint_pos]
    write_pd_law(
        model,
        bias=zeros,
        stiffness=zeros + _STIFFNESS,
        damping=zeros + _DAMPING,
        effort_limit_nm=world.effort_limit_nm,
    )
    kind = mujoco.mjtState.mjSTATE_FULLPHYSICS
    state = np.zeros((1, mujoco.mj_stateSize(model, kind)))
    mujoco.mj_getState(model, data, state[0], kind)
    steps = round(seconds * world.steps_per_s)
    control = np.tile(sensed.joint_pos, (1, steps, 1))
    return lambda: mujoco.rollout.rollout(model, data, state, control, nstep=steps)


def _processor_s(call: Callable[[], object]) -> float:
    began_s = time.process_time()
    call()
    return time.process_time() - began_s
