# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Rows for a bundle that nothing was recorded of: states drawn around the default position."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from model_tools.closed_loop.controlled import RecordingBackend
from model_tools.errors import ToolError
from model_tools.onnx_model import read_onnx
from model_tools.terms import EXACT_IN_FLOAT16, tick_inputs
from policy_inference.backends.registry import open_backend
from policy_inference.bundle.contract import JointContract
from policy_inference.bundle.joint_values import per_joint
from policy_inference.bundle.load import Bundle
from policy_inference.comparison.rows import Rows
from policy_inference.core.policy import JointPolicy
from policy_inference.core.state import LAST_OUTPUT, RobotState
from policy_inference.interfaces import F64

DRAWN_ROWS = 256
_JOINT_POS_RAD, _JOINT_VEL_RAD_S, _ANG_VEL_RAD_S, _LIN_VEL_M_S, _TILT = 0.1, 1.0, 0.3, 0.3, 0.05
"""Standard deviations; the last is of the quaternion's x, y, z."""


def drawn(bundle: Bundle) -> Rows:
    """Return what the model takes and gives in ticks with a new state each, always the same ones.

    They prove that another back end or machine computes the same; a robot never moves like this.
    The count of ticks goes through its whole range: to the last row of the table that it chooses
    from, else beyond what float16 counts.

    Raises:
        PolicyError: The model does not run, or its outputs are not finite.
    """
    backend, _ = open_backend(bundle, ["onnx"])
    recorder = RecordingBackend(backend)
    state = RobotState(bundle.contract)
    policy, draw = JointPolicy(bundle, recorder, state), _drawing(bundle.contract, state)
    try:
        for tick in np.linspace(0, _last_tick(bundle), DRAWN_ROWS).round():
            draw()
            if (count := state.get("tick")) is not None:
                count[0] = tick
            if not policy.infer():
                raise ToolError(f"{bundle.path}: expected a model with finite outputs around the "
                                "default position, found others; see its weights and the contract")
            policy.commit()
    finally:
        recorder.close()
    tensors, model = recorder.recorded(), bundle.contract.model
    return Rows(source="drawn around the default position",
                inputs={name: tensors[name] for name in model.inputs},
                outputs={name: tensors[name] for name in model.outputs})


def _last_tick(bundle: Bundle) -> int:
    model = read_onnx(bundle.artifact("onnx")[1])
    tables = [rows for name in tick_inputs(bundle.contract)
              if (rows := model.rows_chosen_by(name)) is not None]
    return max(tables, default=2 * EXACT_IN_FLOAT16) - 1


def _drawing(contract: JointContract, state: RobotState) -> Callable[[], None]:
    """Return what writes a new state: all that is measured, commanded or remembered."""
    random, names = np.random.default_rng(0), contract.joints.names
    default = per_joint(contract.joints.default_position, names)
    # The last action, too: fed back without a robot, it may grow without end.
    spread = {"joint_vel": _JOINT_VEL_RAD_S, "ang_vel_body": _ANG_VEL_RAD_S,
              "lin_vel_body": _LIN_VEL_M_S, "last_action": 1.0}
    spread |= {name: 1.0 for name in state.slices
               if name.startswith(("external:", LAST_OUTPUT))}  # fmt: skip
    spread = {name: value for name, value in spread.items() if name in state.slices}

    def draw() -> None:
        state["joint_pos"][:] = default + random.normal(0.0, _JOINT_POS_RAD, len(names))
        for name, std in spread.items():
            state[name][:] = random.normal(0.0, std, state[name].size)
        if (quat := state.get("quat_xyzw")) is not None:
            quat[:] = _unit(np.append(random.normal(0.0, _TILT, 3), 1.0))
        if contract.velocity_command and "velocity_command" in state.slices:
            trained = contract.velocity_command
            state["velocity_command"][:] = random.uniform(trained.min, trained.max)
        state.derive()

    return draw


def _unit(quat: F64) -> F64:
    return np.asarray(quat / np.linalg.norm(quat))
