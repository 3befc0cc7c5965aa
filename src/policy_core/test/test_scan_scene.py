# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A scan of the training proves the contract of a height scan, and each mistake in it shows."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.contract import File, Term
from policy_core.bundle.height_scan import HeightScan, ScanGrid
from policy_core.bundle.load import load_bundle
from policy_core.errors import BundleError
from policy_core.interfaces import F64
from policy_core.observation.scan_scene import check_scenes
from testkit.wording import refusal

WALK = Path(__file__).resolve().parents[3] / "config" / "bundles" / "lite3_walk"
GRID = ScanGrid(
    size_m=(1.6, 1.0),
    resolution_m=(0.1, 0.1),
    centre_m=(0.1, 0.0),
    order="x_fastest",
    x="ascending",
    y="ascending",
)
SCAN = HeightScan(
    grid=GRID,
    origin_m=(0.0, 0.0, 0.1),
    alignment="yaw",
    heading="rotated_x",
    value="frame_minus_ground",
    offset_m=0.5,
    invalid="nearest",
    max_invalid_ratio=0.3,
    map_timeout_s=0.5,
    pose_timeout_s=0.1,
    layer="elevation",
)
Arrays = dict[str, F64]
Prove = Callable[..., None]


def scene_of_the_training(
    yaw: float = 0.6, tilt: tuple[float, float] = (0.3, 0.2), height: float = 0.2
) -> Arrays:
    """Return what Isaac Lab's ray caster and its term would say, by their own formulas.

    Args:
        yaw: Of the base, rad.
        tilt: Roll and pitch, rad.
        height: Of the step, m.
    """
    position = np.array([1.0, 2.0, 0.35])
    halves = np.array([*tilt, yaw]) / 2.0
    (cr, cp, cy), (sr, sp, sy) = np.cos(halves), np.sin(halves)
    w, x, y, z = (
        cr * cp * cy + sr * sp * sy,
        sr * cp * cy - cr * sp * sy,
        cr * sp * cy + sr * cp * sy,
        cr * cp * sy - sr * sp * cy,
    )
    skew = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    rotation = np.eye(3) + 2.0 * w * skew + 2.0 * skew @ skew
    along, across = np.meshgrid(np.linspace(-0.7, 0.9, 17), np.linspace(-0.5, 0.5, 11))
    turn = np.array([[math.cos(yaw), -math.sin(yaw)], [math.sin(yaw), math.cos(yaw)]])
    sensor = position + rotation @ [0.0, 0.0, 0.1]
    xy = sensor[:2] + np.stack([along.ravel(), across.ravel()], axis=1) @ turn.T
    hits = np.column_stack([xy, np.where(xy[:, 1] > 2.1, height, 0.03 * xy[:, 0])])
    values = 2.0 * np.clip(sensor[2] - hits[:, 2] - 0.5, -1.0, 1.0)
    quat_xyzw = np.array([x, y, z, w])
    return {"hits": hits, "position": position, "quat_xyzw": quat_xyzw, "values": values}


@pytest.fixture
def prove(tmp_path: Path) -> Prove:
    bundle = load_bundle(WALK, kind=JointBundle)

    def check(arrays: Arrays, scan: HeightScan = SCAN) -> None:
        np.savez(tmp_path / "scene.npz", **arrays)  # type: ignore[arg-type]  # its own keyword
        digest = hashlib.sha256((tmp_path / "scene.npz").read_bytes()).hexdigest()
        scene = File(file="scene.npz", sha256=digest)
        term = Term(
            term="height_scan",
            topic="perception/ground",
            scan=scan,
            scene=scene,
            clip=(-1.0, 1.0),
            scale=np.array(2.0),
        )
        observations = {
            name: replace(each, terms=(term,))
            for name, each in bundle.contract.observations.items()
        }
        contract = replace(bundle.contract, observations=observations)
        check_scenes(replace(bundle, path=tmp_path, contract=contract))

    return check


def test_scene_of_the_training_fits_its_contract(prove: Prove) -> None:
    prove(scene_of_the_training())


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "transposed": ({"order": "y_fastest"}, "grid.order: x_fastest"),
    "mirrored in x": ({"x": "descending"}, "grid.x: ascending"),
    "mirrored in y": ({"y": "descending"}, "grid.y: ascending"),
    "negated": ({"value": "ground_minus_frame"}, "value: frame_minus_ground"),
    "turned with the base": ({"alignment": "base", "heading": None}, "alignment: yaw"),
    "not turned": ({"alignment": "world", "heading": None}, "alignment: yaw"),
    "half a cell off": ({"centre_m": (0.15, 0.0)}, ""),
    "wrong spacing": ({"size_m": (1.28, 0.8), "resolution_m": (0.08, 0.08)}, ""),
    "from the base": ({"origin_m": (0.0, 0.0, 0.0)}, ""),
    "another offset": ({"offset_m": 0.4}, ""),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_contract_is_refused_with_the_key_that_mends_it(
    mistake: str, prove: Prove
) -> None:
    changed, key = MISTAKES[mistake]
    grid = {name: value for name, value in changed.items() if hasattr(GRID, name)}
    others = {name: value for name, value in changed.items() if name not in grid}
    scan = replace(SCAN, grid=replace(GRID, **grid), **others)
    with pytest.raises(BundleError) as caught:
        prove(scene_of_the_training(), scan)
    [problem] = caught.value.problems
    assert problem.key == "observations.obs.terms[0].scan"
    assert (key in problem.remedy) if key else not problem.remedy


def test_a_pose_of_another_time_is_refused(prove: Prove) -> None:
    scene = scene_of_the_training()
    scene["position"] = scene["position"] - [0.01, 0.0, 0.0]  # 20 ms at 0.5 m/s
    with refusal(BundleError):
        prove(scene)


def test_a_pose_without_an_orientation_is_refused(prove: Prove) -> None:
    scene = scene_of_the_training()
    scene["quat_xyzw"] = np.zeros(4)
    with refusal(BundleError):
        prove(scene)


@pytest.mark.parametrize(
    ("pose", "as_well"),
    [({"yaw": 0.0}, "alignment: world"), ({"tilt": (0.0, 0.2)}, "heading: twist")],
)
def test_a_scene_that_fits_other_contracts_as_well_proves_nothing(
    pose: dict[str, Any], as_well: str, prove: Prove
) -> None:
    with pytest.raises(BundleError) as caught:
        prove(scene_of_the_training(**pose))
    [problem] = caught.value.problems
    assert as_well in str(problem)


def test_a_miss_is_the_value_that_the_contract_states(prove: Prove) -> None:
    scene, scan = scene_of_the_training(), replace(SCAN, reach_m=2.0, miss=2.0, offset_m=0.0)
    scene["values"] = 2.0 * np.clip(scene["values"] / 2.0 + 0.5, -1.0, 1.0)
    scene["hits"][5] = np.inf
    scene["values"][5] = 2.0
    prove(scene, scan)
    with refusal(BundleError):
        prove(scene, replace(scan, miss=-2.0))


@pytest.mark.parametrize("name", ["hits", "position", "quat_xyzw", "values"])
def test_a_scene_without_an_array_is_refused(name: str, prove: Prove) -> None:
    scene = scene_of_the_training()
    scene[name] = scene[name][:-1]
    with pytest.raises(BundleError) as caught:
        prove(scene)
    assert [problem.key for problem in caught.value.problems] == [name]
