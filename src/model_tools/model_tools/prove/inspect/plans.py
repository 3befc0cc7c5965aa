# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Plans of the native core, made from a bundle or read from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from model_tools.prove.inspect.inspection import InspectionReport
from policy_core.bundle.bundle import Bundle, list_policies
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.control.controller import Controller
from policy_core.estimation.velocity_estimator import VelocityEstimator
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.members.chunk.controller import chunk_controller
from policy_core.members.chunk.settings import ChunkSettings
from policy_core.members.chunk.worker import ChunkAnswer, InlineWorker
from policy_core.plan import PlanValue, plan_bytes, read_plan
from policy_core.safe_files import read_at_most
from policy_core.sets.chunk_member import ChunkRunner
from policy_inference.controller_plan import unopened_controller
from policy_store.report import Table

_LARGEST_BYTES = 1 << 28
_SHOWN = 4


def make_plan(bundle: Bundle) -> bytes:
    """Return the plan of a bundle under its own limits; chunk policies get default settings."""
    plan = _controller(bundle).plan()
    for policy in list_policies(bundle):
        if (estimation := policy.contract.estimation) is not None:
            names = policy.contract.joints.names
            plan["estimation"] = VelocityEstimator(estimation, names).plan()
    return plan_bytes(plan, bytes.fromhex(bundle.sha256))


def _controller(bundle: Any) -> Controller:
    # The worker is never called.
    idle, stricter = InlineWorker(lambda _: ChunkAnswer(np.zeros(0))), StricterLimits()
    limits = limits_in_force(bundle.contract, stricter)
    if bundle.contract.kind == "chunk":
        return chunk_controller(bundle, idle, limits, lambda: 0, ChunkSettings()).controller
    chunks = bundle.select_members(ChunkBundle) if bundle.members else {}
    runners = {
        name: ChunkRunner(
            worker=idle,
            settings=ChunkSettings(),
            expected_s=0.0,
            longest_hold_ns=limits_in_force(one.contract, stricter).damp_after_ns,
        )
        for name, one in chunks.items()
    }
    return unopened_controller(bundle, limits, runners)


def inspect_plan(path: Path) -> InspectionReport:
    return plan_report(path, read_at_most(path, _LARGEST_BYTES))


def plan_report(path: Path, content: bytes) -> InspectionReport:
    """Return the values of a plan; `path` is its file or bundle."""
    sha256, values = read_plan(content, path)
    report = InspectionReport(kind="plan of the native core", path=path)
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
