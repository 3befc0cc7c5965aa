# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The plan for a controller without Python: data for the native core, texts, and host data.

This is a plan as described in `policy_core.plan`, with two additional parts: `words` contains the
texts that `policy_core::Words` completes; `host` contains everything that the controller's host
needs: names, joints, the sources of the state fields, and the models with rows to verify them.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from policy_core.bundle.bundle import CONTRACT_FILE, Bundle, JointBundle, list_policies
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.contract import Graph
from policy_core.bundle.state_fields import IMU, JOINT_STATES, STATE_FIELDS, VELOCITY_COMMAND
from policy_core.bundle.terms import is_perceived
from policy_core.control.controller import Controller
from policy_core.errors import BundleError, Problem
from policy_core.guard.limits import Limits, StricterLimits, limits_in_force
from policy_core.interfaces import F64, OnFault, Tensor
from policy_core.members.chunk.controller import chunk_controller
from policy_core.members.chunk.settings import ChunkSettings
from policy_core.members.chunk.worker import ChunkAnswer, InlineWorker, Worker
from policy_core.members.joint import joint_controller
from policy_core.native_words import native_plan
from policy_core.observation.state import EXTERNAL
from policy_core.onnx_file import LARGEST_BYTES, require_declared
from policy_core.plan import plan_bytes
from policy_core.safe_files import read_at_most
from policy_inference.comparison.limits import open_loop_limits
from policy_inference.kinds.joint import JointKind

BACKEND = "onnx"
_SOURCES = {
    "joint_pos": "position",
    "joint_vel": "velocity",
    "quat_xyzw": "orientation",
    "ang_vel_body": "angular_velocity",
    "velocity_command": "command",
}
"""Source of each field in a controller: joint interfaces, IMU interfaces, or references."""
_KINDS = ("position", "velocity", "effort")
_TOPICS = (JOINT_STATES.name, IMU.name, VELOCITY_COMMAND.name)


class ModelArrays:
    """Stands in for an opened model, with the model's input and output arrays but no runtime."""

    name = "none"

    def __init__(self, model: Graph) -> None:
        self.inputs: Mapping[str, Tensor] = {one.name: one.empty() for one in model.input_specs}
        self.outputs: Mapping[str, Tensor] = {one.name: one.empty() for one in model.output_specs}
        self.details: Mapping[str, str] = {}

    def run(self) -> None:
        pass

    def close(self) -> None:
        pass


def unopened_controller(
    bundle: Any, limits: Limits, runners: Mapping[str, Any] | None = None
) -> Controller:
    """Return a bundle's controller without opening its models; its clock stays at 0.

    Args:
        bundle: A joint policy, or a set.
        limits: Limits in force.
        runners: Runners of the set members other than joint policies, by name.
    """
    if not bundle.members:
        return joint_controller(bundle, ModelArrays(bundle.contract.model), limits, lambda: 0)
    # Imported here because a single joint policy does not need it.
    from policy_core.sets.controller import SensedState, make_policy_set, set_controller, set_inputs

    state = SensedState(bundle.contract, limits)
    inputs = set_inputs(bundle.contract, state, limits)
    joint_members = bundle.select_members(JointBundle).items()
    all_runners = {
        **{name: ModelArrays(each.contract.model) for name, each in joint_members},
        **(runners or {}),
    }
    policy_set = make_policy_set(bundle, all_runners, state, inputs, lambda: 0)
    return set_controller(bundle.contract, policy_set, state, inputs, limits, lambda: 0)


def controller_plan(bundle: Any, library: Path, stricter: StricterLimits) -> bytes:
    """Return a bundle's plan for a controller in C++.

    Args:
        bundle: A joint policy, a set of joint policies, or a chunk policy, whose chunks another
            process computes.
        library: ONNX Runtime's shared library, for the controller to open.
        stricter: The operator's limits.

    Raises:
        BundleError: A controller cannot run the bundle because it is a set with a chunk policy, its
            models are not available as ONNX, or it needs an input that no ros2_control interface
            provides.
    """
    limits = limits_in_force(bundle.contract, stricter)
    if bundle.contract.kind == "chunk":
        idle = InlineWorker(lambda _: ChunkAnswer(np.zeros(0)))
        controller = executing_controller(bundle, limits, idle)
    else:
        _require_joint_policies(bundle)
        controller = unopened_controller(bundle, limits)
    plan = {**native_plan(controller), "host": _host(bundle, controller, library)}
    return plan_bytes(plan, bytes.fromhex(bundle.sha256))


def executing_controller(
    bundle: ChunkBundle, limits: Limits, worker: Worker, clock: Callable[[], int] = lambda: 0
) -> Controller:
    """Return a controller that only executes chunks; it has no observations to compute them from.

    Args:
        bundle: The policy.
        limits: Limits in force.
        worker: Provides the chunks.
        clock: Same as for `Controller`.
    """
    contract = replace(bundle.contract, cameras={}, environment_state=None, denoising=None)
    blind = replace(bundle, contract=contract)
    return chunk_controller(blind, worker, limits, clock, ChunkSettings()).controller


def _require_joint_policies(bundle: Bundle) -> None:
    for policy in list_policies(bundle):
        if policy.contract.kind != "joint" or not policy.models:
            found = f"a policy of kind {policy.contract.kind}"
            raise _problem(policy, "a joint policy with a model", found)


def _problem(bundle: Bundle, expected: str, found: str) -> BundleError:
    return BundleError(
        Problem(
            file=str(bundle.path / CONTRACT_FILE),
            expected=expected,
            found=found,
            remedy="run it in its node, with a driver (docs/bring_your_robot.md) or, with on_fault "
            "hold_measured, through another controller (docs/outputs.md)",
        )
    )


def _host(bundle: Any, controller: Controller, library: Path) -> dict[str, Any]:
    action = controller.policy.action
    stiffness, damping = _gains(bundle, controller)
    members: Mapping[str, Any] = bundle.members or {"": bundle}
    actions = {}
    if bundle.contract.kind == "chunk":
        members, actions = {}, {"actions": [*bundle.contract.action.joints]}
    silence_s = getattr(bundle.contract, "silence_s", None)
    return {
        **({} if silence_s is None else {"silence_ns": round(silence_s * 1e9)}),
        **actions,
        "name": bundle.contract.name,
        "version": bundle.contract.version,
        "path": str(bundle.path.resolve()),
        "period_ns": bundle.contract.period_ns,
        "joints": [*bundle.contract.joints.on_robot()],
        "commanded": [_KINDS.index(kind.value) for kind in action.kinds],
        "stiffness": stiffness,
        "damping": damping,
        "fields": _fields(bundle, controller),
        "models": [_model(name, member) for name, member in members.items()],
        "library": str(library),
        "nominal_known": bundle.contract.nominal is not None,
    }


def _gains(bundle: Bundle, controller: Controller) -> F64:
    """Return the stiffness and damping [2, joints]; NaN for gains that differ between modes."""
    stand, policy = bundle.contract.stand, controller.policy
    always = np.array([stand.stiffness, stand.damping])
    states = getattr(policy, "states", {}).values()
    others = [state.rows.gains for state in states] or [policy.action.steady_gains]
    if OnFault(bundle.contract.safety.on_fault) is not OnFault.HOLD_MEASURED:
        others.append(np.full_like(always, np.nan))
    return np.where(np.all([each == always for each in others], axis=0), always, np.nan)


def _fields(bundle: Bundle, controller: Controller) -> list[dict[str, Any]]:
    inputs, found = [*controller.inputs], list[dict[str, Any]]()
    for name in inputs:
        if not (name in _TOPICS or is_perceived(name)):
            expected = f"only {', '.join(_TOPICS)} and perceived inputs"
            raise _problem(bundle, expected, name)
    for name, values in controller.state.slices.items():
        topic = name.removeprefix(EXTERNAL)
        if topic in inputs and is_perceived(topic):
            place = inputs.index(topic)
            size = values.stop - values.start
            label = bundle.contract.perceived[topic]
            found.append(
                {
                    "name": name,
                    "size": size,
                    "input": place,
                    "source": "perceived",
                    "label": label,
                }
            )
        row = STATE_FIELDS.get(name)
        if row is None or row.read is None or row.topic.name not in inputs:
            continue  # computed by the policy itself, or derived from another field
        if name not in _SOURCES:
            raise _problem(bundle, f"only the fields {', '.join(_SOURCES)}", name)
        place = inputs.index(row.topic.name)
        found.append(
            {
                "name": name,
                "size": values.stop - values.start,
                "input": place,
                "source": _SOURCES[name],
            }
        )
    return found


def _model(name: str, bundle: Any) -> dict[str, Any]:
    [files] = bundle.models
    entry, file = files.artifact(BACKEND)
    require_declared(file, read_at_most(file, LARGEST_BYTES), entry.control_flow)
    rows = JointKind().golden_rows(bundle)
    JointKind().require_enough(bundle, rows)
    limits = open_loop_limits(bundle.contract, BACKEND, entry.precision)
    largest = (limits.mae, limits.rmse, limits.max_abs)
    return {
        "member": name,
        "file": str(file.resolve()),
        "crc32": zlib.crc32(file.read_bytes()),
        "rows": len(rows),
        "inputs": _arrays(rows.inputs),
        "outputs": _arrays(rows.outputs),
        "largest": [np.inf if limit is None else limit for limit in largest],
    }


def _arrays(rows: Mapping[str, Tensor]) -> list[dict[str, Any]]:
    return [
        {"name": name, "values": np.asarray(values, dtype=np.float64)}
        for name, values in rows.items()
    ]
