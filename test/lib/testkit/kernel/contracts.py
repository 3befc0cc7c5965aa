# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Contracts for tests, made from one small valid one; no files."""

import functools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.clip import MotionClip
from policy_core.bundle.contract import JointContract
from policy_core.bundle.load import parse_contract
from policy_core.bundle.resolve import resolve
from policy_core.bundle.schema import Reader
from policy_core.bundle.terms import term_names
from policy_core.interfaces import F64, Tensor
from testkit.edits import with_edits

JOINTS = ("hip", "knee", "ankle")
DEFAULT = (0.0, 0.5, -0.5)

TERMS_OF_A_WALKER = (
    {"term": "base_ang_vel", "scale": 0.25},
    {"term": "projected_gravity"},
    {"term": "velocity_command"},
    {"term": "joint_pos_rel"},
    {"term": "joint_vel", "scale": 0.05},
    {"term": "last_action"},
)

CONTRACT: Mapping[str, Any] = {
    "schema_version": 1,
    "kind": "joint",
    "name": "walker",
    "version": "1.0.0",
    "rate_hz": 50,
    "joints": {
        "names": list(JOINTS),
        "default_position": list(DEFAULT),
        "position_min": -1.5,
        "position_max": 1.5,
        "velocity_limit": 10.0,
        "effort_limit": 20.0,
        "stiffness": 30.0,
        "damping": 1.0,
    },
    "stand": {"position": list(DEFAULT), "stiffness": 100.0, "damping": 2.5, "duration_s": 0.2},
    "damp": {"damping": 5.0},
    "observations": {"obs": {"terms": list(TERMS_OF_A_WALKER)}},
    "action": {
        "output": "actions",
        "terms": [
            {"joints": list(JOINTS), "kind": "position", "scale": 0.5, "offset": "default_position"}
        ],
    },
    "velocity_command": {"min": [-1.0, -0.5, -1.0], "max": [1.0, 0.5, 1.0]},
    "model": {
        "inputs": {},
        "outputs": {"actions": {"shape": [1, 3]}},
        "artifacts": {"onnx": {"file": "policy.onnx", "sha256": "0" * 64, "precision": "fp32"}},
    },
    "safety": {"on_fault": "damp", "max_tilt_rad": 1.0},
    "provenance": {"source": "made for tests", "licence": "Apache-2.0"},
}
MOTION: Mapping[str, Any] = {
    "clip": {"file": "motion.npz", "sha256": "0" * 64},
    "at_end": "hold",
    "anchor": {"body": "trunk", "chain": []},
}
NOMINAL = {"source": "made for tests", "ticks": 1, "target_step": 0.2, "effort_demand": 9.0}


def contract_of(changes: Mapping[str, object] | None = None) -> JointContract:
    """Return the contract with keys replaced, named like ``safety.on_fault``.

    Sizes of inputs that observations fill follow from their terms; those of others are given.
    """
    return _sized(json.dumps(with_edits(CONTRACT, changes)))


@functools.lru_cache(maxsize=100)
def _sized(text: str) -> JointContract:
    raw = json.loads(text)
    given = raw["model"]["inputs"]
    sizes = {name: {"shape": [1, 1]} for name in raw["observations"]}
    raw["model"]["inputs"] = {**sizes, **given}
    sketch = resolve(Reader("sketch").section(JointContract, raw), Reader("sketch"))
    for name in sizes.keys() - given.keys():
        raw["model"]["inputs"][name] = {"shape": [1, _size(sketch, name)]}
    raw["model"]["outputs"]["actions"] = {
        "shape": [1, sum(len(term.joints) for term in sketch.action.terms)]
    }
    return parse_contract(json.dumps(raw).encode(), "policy.yaml", kind=JointContract)


def _size(contract: JointContract, name: str) -> int:
    observation = contract.observations[name]
    return sum(
        len(term_names(term, contract)) * (term.history_length or observation.history.length)
        for term in observation.terms
    )


def bundle_of(
    contract: JointContract,
    statistics: Mapping[str, tuple[F64, F64]] | None = None,
    clip: MotionClip | None = None,
    initial_state: Mapping[str, Tensor] = {},
) -> JointBundle:
    return JointBundle(
        path=Path(),
        contract=contract,
        content=b"",
        statistics=statistics or {},
        clip=clip,
        initial_state=initial_state,
    )


def observed(terms: Sequence[Mapping[str, object]], **options: object) -> JointContract:
    """Return a contract whose only input `obs` has these terms and options.

    An output that a term observes has two values; terms of a reference motion have `MOTION`.
    """
    outputs = {
        f"model.outputs.{term['output']}": {"shape": [1, 2]} for term in terms if "output" in term
    }
    shows_motion = any(str(term["term"]).startswith("motion_") for term in terms)
    motion = {"motion": MOTION} if shows_motion else {}
    observations = {"obs": {"terms": list(terms), **options}}
    return contract_of({"observations": observations, **outputs, **motion})


def clip_of(frames: int, *, turn_rad: float = 0.0, step_m: float = 0.0) -> MotionClip:
    """Return a clip whose first frame is the stand pose of `CONTRACT`, and whose anchor walks.

    Each frame moves joint i by 0.01 i + 0.01, and the anchor turns and steps forward once.
    """
    count = np.arange(frames)
    moved = np.outer(count, [0.01, 0.02, 0.03])
    yaw = turn_rad * count
    steps = step_m * np.stack([np.cos(yaw), np.sin(yaw)], axis=1)
    steps[0] = (5.0, 7.0)
    places = np.cumsum(steps, axis=0)
    zero = np.zeros(frames)
    return MotionClip(
        joint_pos=np.array(DEFAULT) + moved,
        joint_vel=np.ones_like(moved) * [0.5, 1.0, 1.5],
        anchor_pos=np.column_stack([places, np.full(frames, 0.8)]),
        anchor_quat_xyzw=np.stack([zero, zero, np.sin(yaw / 2), np.cos(yaw / 2)], axis=1),
    )


def quat_xyzw(roll: float, pitch: float, yaw: float) -> tuple[float, float, float, float]:
    """Return the rotation body -> world of the angles (z-y-x), rad."""
    (cr, sr), (cp, sp), (cy, sy) = ((math.cos(a / 2), math.sin(a / 2)) for a in (roll, pitch, yaw))
    return (
        sr * cp * cy - cr * sp * sy,
        cr * sp * cy + sr * cp * sy,
        cr * cp * sy - sr * sp * cy,
        cr * cp * cy + sr * sp * sy,
    )
