# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Clips of a reference motion: what is refused when a bundle is loaded."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_inference.bundle.bundle import JointBundle, file_entry
from policy_inference.bundle.load import load_bundle
from policy_inference.errors import BundleError

from .editing import MISSING

Edit = Callable[[Mapping[str, object]], Path]
FRAMES, STAND = 6, (0.4, -0.8)
TERMS = [
    {"term": "motion_joint_pos"},
    {"term": "motion_joint_vel"},
    {"term": "motion_anchor_ori_b"},
]


def arrays(**changes: Any) -> dict[str, Any]:
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
def tracking(edit: Edit, bundle_dir: Path) -> Callable[..., Path]:
    """Return what writes a bundle that tracks a clip, with edits of the contract and the clip."""

    def write(edits: Mapping[str, object] | None = None, **changes: Any) -> Path:
        file = bundle_dir / "motion.npz"
        np.savez(file, **arrays(**changes))
        entry = file_entry(file, bundle_dir)
        contract = edit(
            {
                "rate_hz": 50.0,
                "stand.position": list(STAND),
                "observations.obs": {"terms": TERMS},
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
    with pytest.raises(BundleError, match=r"motion\.npz: expected the file"):
        bundle.verify([])


def with_nan() -> Any:
    changed = arrays()["joint_pos"].copy()
    changed[4, 0] = np.nan
    return changed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"joint_names": None}, "joint_names: expected the names of the joints, in their order"),
        ({"body_names": None}, "body_names: expected the names of the bodies"),
        ({"joint_names": np.arange(3)}, "joint_names: expected the names of the joints"),
        (
            {"joint_names": np.array(["tail", "right_knee", "left_hip"])},
            "expected a clip of this robot, with left_knee, found tail, right_knee, left_hip",
        ),
        (
            {"joint_names": np.array(["tail", "left_knee", "left_knee"])},
            "expected each name once, found left_knee several times",
        ),
        ({"body_names": np.array(["pelvis", "head"])}, "a clip of this robot, with torso"),
        ({"fps": np.array([30])}, r"fps: expected 50 Hz, the policy's rate, found 30\.0"),
        ({"fps": None}, "fps: expected the rate of the frames, Hz, found nothing"),
        ({"joint_pos": with_nan()}, "NaN or infinity in 1 frames, first in frame 4"),
        ({"joint_vel": np.zeros((FRAMES - 1, 3))}, r"joint_vel: expected floating-point .* \[6, 3"),
        ({"body_pos_w": np.zeros((FRAMES, 1, 3))}, r"body_pos_w: expected .* \[6, 2, 3\]"),
        ({"body_quat_w": np.ones((FRAMES, 2, 4))}, "unit quaternions w, x, y, z, found one of the"),
        (
            {"joint_pos": np.zeros((FRAMES, 3))},
            r"joint_pos\[0\] of left_knee: expected at most 0\.35 rad from stand\.position 0\.4",
        ),
        ({"joint_pos": np.float64(1.0)}, "joint_pos: expected floating-point numbers"),
    ],
)
def test_a_clip_that_does_not_fit_is_refused_when_it_is_loaded(
    tracking: Callable[..., Path], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        load_bundle(tracking(**changes))


def test_a_clip_of_one_frame_is_refused(tracking: Callable[..., Path]) -> None:
    one = {
        name: array[:1] if array.shape[0] == FRAMES else array for name, array in arrays().items()
    }
    with pytest.raises(BundleError, match="at least 2 frames, found 1"):
        load_bundle(tracking(**one))


def test_names_with_pickles_inside_are_not_read(tracking: Callable[..., Path]) -> None:
    with pytest.raises(BundleError, match="Object arrays cannot be loaded"):
        load_bundle(tracking(joint_names=np.array(["a", "b", "c"], dtype=object)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"motion": None}, "motion: expected the reference motion of the term motion_joint_pos"),
        ({"motion.anchor": None}, "motion.anchor: expected the body of motion_anchor_ori_b"),
        (
            {"motion.anchor.chain": [{"joint": "tail", "position_m": [0, 0, 1]}]},
            r"motion\.anchor\.chain\[0\]\.joint: expected names of joints\.names, found 'tail'",
        ),
        (
            {"motion.anchor.chain": [{"position_m": [0, 0, 1], "quat_xyzw": [0, 0, 0, 0]}]},
            r"chain\[0\]\.quat_xyzw: expected a length > 0",
        ),
        (
            {
                "motion.anchor.chain": [
                    {"joint": "left_knee", "position_m": [0, 0, 1], "axis": [0, 0, 0]}
                ]
            },
            r"chain\[0\]\.axis: expected a length > 0",
        ),
        (
            {"observations.obs.terms": [{"term": "phase", "period_s": 1.0}] * 5},
            "motion: expected a term that shows it",
        ),
        (
            {"observations.obs.terms": [{"term": "tick", "ahead": 2}] * 10},
            r"terms\[0\]\.ahead: expected nothing, found ahead",
        ),
        ({"motion.clip.file": "../motion.npz"}, r"motion\.clip\.file: expected a path inside"),
    ],
)
def test_what_the_contract_says_of_a_motion_is_checked(
    tracking: Callable[..., Path], changes: Mapping[str, object], message: str
) -> None:
    with pytest.raises(BundleError, match=message):
        load_bundle(tracking(changes))


LIVE: Mapping[str, object] = {"live": {"timeout_s": 0.1}, "anchor": {"body": "torso", "chain": []}}


def test_a_live_motion_needs_no_clip(tracking: Callable[..., Path]) -> None:
    bundle = load_bundle(tracking({"motion": LIVE}), kind=JointBundle)
    assert bundle.clip is None
    assert bundle.contract.motion is not None
    assert bundle.contract.motion.live is not None


@pytest.mark.parametrize(
    ("edits", "problem"),
    [
        (
            {"motion": {"anchor": LIVE["anchor"]}},
            "motion: expected either `clip` or `live`, found no",
        ),
        ({"motion.live": LIVE["live"]}, "motion: expected either `clip` or `live`, found both"),
        (
            {"motion.at_end": MISSING},
            "motion.at_end: expected hold or loop, for a clip, found noth",
        ),
        (
            {"motion": {**LIVE, "at_end": "loop"}},
            "motion.at_end: expected nothing, since a live motion has no last frame, found 'loop'",
        ),
        (
            {"motion": LIVE, "observations.obs.terms.0.ahead": 2},
            "observations: ahead of motion_joint_pos: expected 0, since of a live motion only the ",
        ),
        (
            {"motion": {**LIVE, "live": {"timeout_s": 0}}},
            "motion.live.timeout_s: expected a number > 0, found 0",
        ),
    ],
    ids=["neither", "both", "no end", "live with an end", "ahead", "no time-out"],
)
def test_a_motion_is_either_a_clip_or_live(
    tracking: Callable[..., Path], edits: Mapping[str, object], problem: str
) -> None:
    with pytest.raises(BundleError) as caught:
        load_bundle(tracking(edits), kind=JointBundle)
    assert problem in str(caught.value)
