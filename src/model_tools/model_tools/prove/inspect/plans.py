# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Plans of the native core: that of a bundle, and files with one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from model_tools.errors import ToolError
from model_tools.files.file_types import PLAN_SUFFIX, suffix_of
from model_tools.prove.inspect.inspection import InspectionReport
from policy_core.bundle.bundle import Bundle, JointBundle, policies_of
from policy_core.bundle.contract import Graph
from policy_core.bundle.set_bundle import SetBundle
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import Tensor
from policy_core.members.joint import joint_controller
from policy_core.plan import PlanValue, plan_bytes, read_plan
from policy_core.safe_files import read_at_most
from policy_core.sets.controller import SensedState, policy_set_of, set_controller, set_inputs
from policy_store.report import Table

KIND = "plan of the native core"
_LARGEST_BYTES = 1 << 28
_SHOWN = 4


class ModelArrays:
    """The inputs and outputs of a model that is not opened."""

    name = "none"

    def __init__(self, model: Graph) -> None:
        """Make the arrays, zeroed."""
        self.inputs: Mapping[str, Tensor] = {one.name: one.empty() for one in model.input_specs}
        self.outputs: Mapping[str, Tensor] = {one.name: one.empty() for one in model.output_specs}
        self.details: Mapping[str, str] = {}

    def run(self) -> None:
        pass

    def close(self) -> None:
        pass


def plan_of(bundle: Bundle) -> bytes:
    """Return the plan of a joint policy, or of a set of them, under the contract's own limits.

    Raises:
        ToolError: It is, or has as a member, a policy of another kind.
    """
    contract = bundle.contract
    for policy in policies_of(bundle):
        if not isinstance(policy, JointBundle):
            raise ToolError(
                f"{policy.file}: kind: expected joint, found {policy.contract.kind}; the native "
                "core runs joint policies and sets of them alone"
            )
    limits = limits_in_force(contract, StricterLimits())
    if isinstance(bundle, SetBundle):
        state = SensedState(bundle.contract, limits)
        inputs = set_inputs(bundle.contract, state, limits)
        models = {
            name: ModelArrays(member.contract.model)
            for name, member in bundle.members_of(JointBundle).items()
        }
        policy_set = policy_set_of(bundle, models, state, inputs, _no_time)
        controller = set_controller(bundle.contract, policy_set, state, inputs, limits, _no_time)
    else:
        assert isinstance(bundle, JointBundle)
        model = ModelArrays(bundle.contract.model)
        controller = joint_controller(bundle, model, limits, _no_time)
    return plan_bytes(controller.plan(), bytes.fromhex(bundle.sha256))


def _no_time() -> int:
    return 0


def is_plan(path: Path) -> bool:
    """Return whether it begins as one."""
    return suffix_of(path) == PLAN_SUFFIX


def inspect_plan(path: Path) -> InspectionReport:
    """Return the values in the file of a plan."""
    return plan_report(path, read_at_most(path, _LARGEST_BYTES))


def plan_report(path: Path, content: bytes) -> InspectionReport:
    """Return the values of a plan; `path` is the file or the bundle that it is of."""
    sha256, values = read_plan(content, path)
    report = InspectionReport(kind=KIND, path=path)
    report.values.update(bundle_sha256=sha256.hex(), plan=values)
    report.row("bundle_sha256", f"{sha256.hex()}, of its policy.yaml or set.yaml")
    report.row("limits in force", "its values limits.*")
    report.tables.append(
        Table(
            title="values",
            header=("name", "type", "size", "begins with"),
            rows=[(name, *_cells(value)) for name, value in values.items()],
        )
    )
    return report


def _cells(value: PlanValue) -> tuple[str, int, str]:
    if isinstance(value, tuple):
        kind, shown = "text", [*value[:_SHOWN]]
    else:
        is_float = value.dtype.kind == "f"
        kind = str(value.dtype)
        shown = [f"{each:.6g}" if is_float else str(each) for each in value[:_SHOWN]]
    more = ["..."] if len(value) > _SHOWN else []
    return kind, len(value), ", ".join(shown + more)
