# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Clips of a reference motion: what is refused when a bundle is loaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_core.bundle.bundle import JointBundle, file_entry
from policy_core.bundle.load import load_bundle
from policy_core.errors import BundleError
from testkit.edits import MISSING, Edits
from testkit.wording import refusal

from .editing import check_refused, edits_name

EditJoint = Callable[[Edits], Path]
FRAMES, STAND = 6, (0.4, -0.8)
TERMS = [
    {"term": "motion_joint_pos"},
    {"term": "motion_joint_vel"},
    {"term": "motion_anchor_ori_b"},
]


def clip_arrays(**changes: Any) -> dict[str, Any]:
    """Return the arrays of a clip that fits the bundle; None takes one away."""
    found: dict[str, Any] = {
        "fps": np.array([50]),
        "joint_names": np.array(["tail", "right_knee", "left_knee"]),
        "joint_pos": np.tile(np.array([9.0, STAND[1], STAND[0]], np.float32), (FRAMES, 1)),
        "joint_vel": np.tile(np.array([9.0, 2.0, 1.0], np.float32), (FRAMES, 1)),
        "body_names": np.array(["pelvis", "torso"]),
        "body_pos_w": np.ones((FRAMES, 2, 3), np.float32),
        "body_quat_w": np.tile(np.array([0.0, 0.6, 0.0, 0.8], np.float32), (FRAMES, 2, 1)),
    }
    found |= changes
    return {name: array for name, array in found.items() if array is not None}


@pytest.fixture
def tracking(edit_joint: EditJoint, bundle_dir: Path) -> Callable[..., Path]:
    """Return what writes a bundle that tracks a clip, with edits of the contract and the clip."""

    def write(edits: Edits | None = None, **changes: Any) -> Path:
        file = bundle_dir / "motion.npz"
        np.savez(file, **clip_arrays(**changes))
        entry = file_entry(file, bundle_dir)
        contract = edit_joint(
            {
                "rate_hz": 50.0,
                "stand.position": list(STAND),
                "observations.obs": {"terms": [dict(term) for term in TERMS]},
                "model.inputs.obs.shape": [1, 10],
                "model.golden": None,
                "motion": {
                    "clip": {"file": entry.file, "sha256": entry.sha256},
                    "at_end": "hold",
                    "anchor": {"body": "torso", "chain": []},
                },
                **(edits or {}),
            }
        )
        return contract.parent

    return write


def test_a_clip_comes_in_the_order_of_the_contract(tracking: Callable[..., Path]) -> None:
    clip = load_bundle(tracking(), kind=JointBundle).clip
    assert clip is not None
    np.testing.assert_allclose(clip.joint_pos[3], STAND)
    np.testing.assert_allclose(clip.joint_vel[3], [1.0, 2.0])
    np.testing.assert_allclose(clip.anchor_quat_xyzw[3], [0.6, 0.0, 0.8, 0.0])


def test_a_bundle_is_whole_only_with_its_clip(tracking: Callable[..., Path]) -> None:
    bundle = load_bundle(tracking(), kind=JointBundle)
    (bundle.path / "motion.npz").unlink()
    with refusal(BundleError):
        bundle.verify([])


def positions_with_nan() -> Any:
    changed = clip_arrays()["joint_pos"].copy()
    changed[4, 0] = np.nan
    return changed


@pytest.mark.parametrize(
    "changes",
    [
        {"joint_names": None},
        {"joint_names": np.array(["tail", "right_knee", "left_hip"])},
        {"fps": np.array([30])},
        {"joint_pos": positions_with_nan()},
        {"body_quat_w": np.ones((FRAMES, 2, 4))},
        {"joint_pos": np.zeros((FRAMES, 3))},
        {"joint_names": np.array(["a", "b", "c"], dtype=object)},
        {name: array[:1] for name, array in clip_arrays().items() if array.shape[0] == FRAMES},
    ],
    ids=[
        *("no names", "another robot", "another rate", "NaN", "no unit quaternions"),
        *("far from standing", "pickles", "one frame"),
    ],
)
def test_a_clip_that_does_not_fit_is_refused_when_it_is_loaded(
    tracking: Callable[..., Path], changes: dict[str, Any]
) -> None:
    with refusal(BundleError):
        load_bundle(tracking(**changes))


def chained(**link: object) -> Edits:
    return {"motion.anchor.chain": [{"position_m": [0, 0, 1], **link}]}


LINK = "motion.anchor.chain[0]"
LIVE: Edits = {"live": {"timeout_s": 0.1}, "anchor": {"body": "torso", "chain": []}}


@pytest.mark.parametrize(
    ("key", "edits"),
    [
        ("motion", {"motion": None}),
        (f"{LINK}.joint", chained(joint="tail")),
        ("motion", {"observations.obs.terms": [{"term": "phase", "period_s": 1.0}] * 5}),
        (
            "observations.obs.terms[0].ahead",
            {"observations.obs.terms": [{"term": "tick", "ahead": 2}] * 10},
        ),
        ("motion", {"motion": {"anchor": LIVE["anchor"]}}),
        ("motion.at_end", {"motion.at_end": MISSING}),
        ("motion.at_end", {"motion": {**LIVE, "at_end": "loop"}}),
        (
            "observations: `ahead` of motion_joint_pos",
            {"motion": LIVE, "observations.obs.terms.0.ahead": 2},
        ),
    ],
    ids=edits_name,
)
def test_what_the_contract_says_of_a_motion_is_checked(
    tracking: Callable[..., Path], key: str, edits: Edits
) -> None:
    folder = tracking(edits)
    check_refused(lambda: load_bundle(folder), key)


def test_a_live_motion_needs_no_clip(tracking: Callable[..., Path]) -> None:
    bundle = load_bundle(tracking({"motion": LIVE}), kind=JointBundle)
    assert bundle.clip is None
    assert bundle.contract.motion is not None
    assert bundle.contract.motion.live is not None
