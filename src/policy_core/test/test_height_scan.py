# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Height scans: where the points lie, and what the policy sees of the ground there.

The scene is a step on one side and a slope, so that no mistake of order, direction, sign or
alignment looks right.
"""

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
from policy_core.bundle.height_scan import HeightScan, ScanGrid, check_scan
from policy_core.bundle.load import load_bundle
from policy_core.bundle.schema import Reader
from policy_core.errors import BundleError, RobotError
from policy_core.interfaces import F64
from policy_core.observation.height_scan import ElevationMap, HeightScanner
from policy_core.observation.scan_scene import check_scenes
from testkit.wording import refusal

GRID = ScanGrid(
    size_m=(1.6, 1.0),
    resolution_m=(0.1, 0.1),
    centre_m=(0.0, 0.0),
    order="x_fastest",
    x="ascending",
    y="ascending",
)
ISAAC_LAB = HeightScan(
    grid=GRID,
    origin_m=(0.0, 0.0, 0.0),
    alignment="yaw",
    heading="rotated_x",
    value="frame_minus_ground",
    offset_m=0.5,
    invalid="value",
    invalid_value=-1.0,
    max_invalid_ratio=0.3,
    map_timeout_s=0.5,
    pose_timeout_s=0.1,
    layer="elevation",
)
RESOLUTION_M = 0.04


def ground(x: F64, y: F64) -> F64:
    """Return the height of a step to the left ahead, on a slope."""
    return np.asarray(0.05 * x + np.where((x > 0.3) & (y > 0.1), 0.2, 0.0))


def elevation(start: tuple[int, int] = (0, 0), cells: int = 100) -> ElevationMap:
    """Return a map of it around the origin."""
    at: F64 = (0.5 * cells - 0.5 - np.arange(cells, dtype=np.float64)) * RESOLUTION_M
    heights = ground(at[:, None], at[None]).astype(np.float32)
    heights = np.roll(heights, start, axis=(0, 1))
    return ElevationMap(heights=heights, centre=(0.0, 0.0), resolution_m=RESOLUTION_M, start=start)


def quaternion(roll: float = 0.0, pitch: float = 0.0, yaw: float = 0.0) -> F64:
    """Return a rotation about z, then y, then x [x, y, z, w]."""
    (cr, sr), (cp, sp), (cy, sy) = (
        (math.cos(angle / 2), math.sin(angle / 2)) for angle in (roll, pitch, yaw)
    )
    return np.array(
        [
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
            cr * cp * cy + sr * sp * sy,
        ]
    )


def seen(
    scan: HeightScan,
    position: tuple[float, float, float] = (0.0, 0.0, 0.35),
    quat_xyzw: F64 | None = None,
    of: ElevationMap | None = None,
) -> F64:
    scanner = HeightScanner(scan)
    scanner.sample(
        of or elevation(), np.array(position), quaternion() if quat_xyzw is None else quat_xyzw
    )
    scanner.see()
    return scanner.values.copy()


def test_the_points_of_a_grid_are_in_the_order_that_the_training_says() -> None:
    points = ISAAC_LAB.points
    assert points.shape == (187, 2)
    np.testing.assert_allclose(points[[0, 1, 17]], [[-0.8, -0.5], [-0.7, -0.5], [-0.8, -0.4]])

    def first(**change: Any) -> F64:
        return replace(ISAAC_LAB, grid=replace(GRID, **change)).points[:2]

    np.testing.assert_allclose(first(order="y_fastest"), [[-0.8, -0.5], [-0.8, -0.4]])
    np.testing.assert_allclose(first(x="descending"), [[0.8, -0.5], [0.7, -0.5]])
    np.testing.assert_allclose(
        first(order="y_fastest", x="descending", y="descending"), [[0.8, 0.5], [0.8, 0.4]]
    )
    np.testing.assert_allclose(first(centre_m=(0.2, 0.1)), [[-0.6, -0.4], [-0.5, -0.4]])


def test_a_scan_sees_the_cells_that_its_points_are_in() -> None:
    values = seen(ISAAC_LAB, (0.1, -0.2, 0.35), quaternion(yaw=0.6))

    c, s = math.cos(0.6), math.sin(0.6)
    at = ISAAC_LAB.points @ np.array([[c, s], [-s, c]]) + (0.1, -0.2)
    x, y = ((np.floor(at / RESOLUTION_M) + 0.5) * RESOLUTION_M).T
    np.testing.assert_allclose(values, 0.35 - ground(x, y) - 0.5, atol=1e-6)


def test_a_circular_map_is_the_same_map() -> None:
    for start in ((0, 0), (13, 77), (99, 1)):
        np.testing.assert_array_equal(seen(ISAAC_LAB, of=elevation(start)), seen(ISAAC_LAB))


@pytest.mark.parametrize(
    "change",
    [
        {"grid": replace(GRID, order="y_fastest")},
        {"grid": replace(GRID, y="descending")},
        {"grid": replace(GRID, x="descending")},
        {"grid": replace(GRID, centre_m=(0.05, 0.05))},
        {"grid": replace(GRID, size_m=(1.6, 0.5), resolution_m=(0.1, 0.05))},
        {"value": "ground_minus_frame"},
        {"value": "ground_minus_mean"},
        {"alignment": "base", "heading": None},
        {"alignment": "world", "heading": None},
        {"heading": "twist"},
        {"offset_m": 0.0},
        {"origin_m": (0.0, 0.0, 0.1)},
        {"reach_m": 0.3, "miss": -1.0},
    ],
    ids=lambda change: ", ".join(change),
)
def test_a_scan_of_another_convention_differs_at_a_step(change: dict[str, Any]) -> None:
    pose = (0.1, -0.2, 0.35), quaternion(roll=0.5, pitch=0.4, yaw=1.1)
    difference = seen(replace(ISAAC_LAB, **change), *pose) - seen(ISAAC_LAB, *pose)
    assert np.abs(difference).max() > 0.05


def test_rays_along_a_tilted_base_find_the_ground() -> None:
    flat = ElevationMap(
        heights=np.zeros((100, 100), np.float32), centre=(0.0, 0.0), resolution_m=RESOLUTION_M
    )
    along = replace(ISAAC_LAB, alignment="base", heading=None)
    values = seen(along, (0.0, 0.0, 0.35), quaternion(pitch=0.2), flat)
    np.testing.assert_allclose(values, -0.15, atol=1e-9)
    short = replace(along, reach_m=0.36, miss=7.0)
    values = seen(short, (0.0, 0.0, 0.35), quaternion(pitch=0.2), flat)
    lengths_m = (0.35 - along.points[:, 0] * math.sin(0.2)) / math.cos(0.2)
    np.testing.assert_allclose(values, np.where(lengths_m <= 0.36, -0.15, 7.0), atol=1e-9)


@pytest.mark.parametrize(("invalid", "found"), [("value", -1.0), ("nearest", None), ("mean", None)])
def test_points_that_are_not_known_have_the_value_that_the_scan_says(
    invalid: Any, found: float | None
) -> None:
    scan = replace(ISAAC_LAB, invalid=invalid, invalid_value=-1.0 if invalid == "value" else None)
    of, whole = elevation(), seen(scan)
    of.heights[48:52, 48:52] = np.nan  # under the body
    scanner = HeightScanner(scan)
    scanner.sample(of, np.array([0.0, 0.0, 0.35]), quaternion())
    scanner.see()
    unknown = np.isnan(scanner.heights)
    assert scanner.invalid == unknown.sum() > 0
    np.testing.assert_array_equal(scanner.values[~unknown], whole[~unknown])
    expected: Any = {"value": -1.0, "mean": whole[~unknown].mean()}.get(invalid)
    if invalid == "nearest":
        assert set(scanner.values[unknown]) <= set(whole[~unknown])
        np.testing.assert_allclose(scanner.values[unknown], whole[unknown], atol=0.011)
    else:
        np.testing.assert_allclose(scanner.values[unknown], expected)


@pytest.mark.parametrize(
    ("scan", "position"),
    [
        (replace(ISAAC_LAB, max_invalid_ratio=0.2), (1.7, 0.0, 0.35)),
        (replace(ISAAC_LAB, invalid="fault", invalid_value=None), (1.3, 0.0, 0.35)),
        (replace(ISAAC_LAB, invalid="mean", invalid_value=None, max_invalid_ratio=1.0), (9, 0, 1)),
    ],
    ids=["too many", "fault", "none known"],
)
def test_a_scan_that_knows_too_little_is_refused(
    scan: HeightScan, position: tuple[float, float, float]
) -> None:
    with pytest.raises(RobotError):
        seen(scan, position)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"points_m": ((0.0, 0.0),)}, "scan"),
        ({"grid": replace(GRID, size_m=(1.65, 1.0))}, "scan.grid.size_m"),
        ({"grid": replace(GRID, size_m=(100.0, 100.0))}, "scan"),
        ({"heading": None}, "scan.heading"),
        ({"reach_m": 2.0}, "scan.miss"),
        ({"invalid": "mean"}, "scan.invalid_value"),
    ],
    ids=str,
)
def test_what_contradicts_itself_in_a_scan_has_one_problem(
    change: dict[str, Any], key: str
) -> None:
    reader = Reader("policy.yaml")
    check_scan(replace(ISAAC_LAB, **change), "scan", reader.problem)
    assert [problem.key for problem in reader.problems] == [key]


def test_a_miss_counts_in_no_mean() -> None:
    scan = replace(ISAAC_LAB, value="ground_minus_mean", offset_m=0.0, reach_m=0.5, miss=9.0)
    scanner = HeightScanner(scan)
    scanner.heights[:] = -0.1
    scanner.heights[5] = -100.0
    scanner.see()
    assert scanner.values[5] == 9.0
    np.testing.assert_allclose(np.delete(scanner.values, 5), 0.0, atol=1e-12)


def test_the_largest_share_of_unknown_points_may_be_reached() -> None:
    points = tuple((0.1 * i, 0.0) for i in range(100))
    for unknown in (29, 57, 58):
        scan = replace(ISAAC_LAB, grid=None, points_m=points, max_invalid_ratio=unknown / 100)
        scanner = HeightScanner(scan)
        scanner.heights[:] = 0.0
        scanner.heights[:unknown] = np.nan
        scanner.see()
        scanner.heights[unknown] = np.nan
        with pytest.raises(RobotError):
            scanner.see()


@pytest.mark.parametrize("pitch", [1.5, 2.0, math.pi])
def test_rays_that_do_not_go_down_find_nothing(pitch: float) -> None:
    along = replace(ISAAC_LAB, alignment="base", heading=None, max_invalid_ratio=1.0)
    assert seen(along, quat_xyzw=quaternion(pitch=pitch)).tolist() == [-1.0] * 187


WALK = Path(__file__).resolve().parents[3] / "config" / "bundles" / "lite3_walk"
SCENE_GRID = ScanGrid(
    size_m=(1.6, 1.0),
    resolution_m=(0.1, 0.1),
    centre_m=(0.1, 0.0),
    order="x_fastest",
    x="ascending",
    y="ascending",
)
SCAN = HeightScan(
    grid=SCENE_GRID,
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
    "turned with the base": ({"alignment": "base", "heading": None}, "alignment: yaw"),
    "half a cell off": ({"centre_m": (0.15, 0.0)}, ""),
    "wrong spacing": ({"size_m": (1.28, 0.8), "resolution_m": (0.08, 0.08)}, ""),
    "from the base": ({"origin_m": (0.0, 0.0, 0.0)}, ""),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_contract_is_refused_with_the_key_that_mends_it(
    mistake: str, prove: Prove
) -> None:
    changed, key = MISTAKES[mistake]
    grid = {name: value for name, value in changed.items() if hasattr(SCENE_GRID, name)}
    others = {name: value for name, value in changed.items() if name not in grid}
    scan = replace(SCAN, grid=replace(SCENE_GRID, **grid), **others)
    with pytest.raises(BundleError) as caught:
        prove(scene_of_the_training(), scan)
    [problem] = caught.value.problems
    assert problem.key == "observations.obs.terms[0].scan"
    assert (key in problem.remedy) if key else not problem.remedy


TWO_MISTAKES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "transposed and mirrored": (
        {"order": "y_fastest", "y": "descending"},
        ["grid.order: x_fastest", "grid.y: ascending"],
    ),
    "order and sign": (
        {"order": "y_fastest", "value": "ground_minus_frame", "offset_m": -0.5},
        [],
    ),
    "sign with the offset": (
        {"value": "ground_minus_frame"},
        ["value: frame_minus_ground"],
    ),
    "sign without the offset": (
        {"value": "ground_minus_frame", "offset_m": 0.0},
        ["value: frame_minus_ground", "offset_m: 0.5"],
    ),
    "turned, and without the offset": (
        {"alignment": "world", "heading": None, "offset_m": 0.0},
        ["alignment: yaw", "offset_m: 0.5"],
    ),
}


@pytest.mark.parametrize("mistake", TWO_MISTAKES)
def test_two_mistakes_are_refused_with_both_keys(mistake: str, prove: Prove) -> None:
    changed, keys = TWO_MISTAKES[mistake]
    grid = {name: value for name, value in changed.items() if hasattr(SCENE_GRID, name)}
    others = {name: value for name, value in changed.items() if name not in grid}
    scan = replace(SCAN, grid=replace(SCENE_GRID, **grid), **others)
    with pytest.raises(BundleError) as caught:
        prove(scene_of_the_training(), scan)
    [problem] = caught.value.problems
    assert all(key in problem.remedy for key in keys)
    assert " or " not in problem.remedy
    assert bool(problem.remedy) == bool(keys)


def test_an_offset_alone_is_named(prove: Prove) -> None:
    with pytest.raises(BundleError) as caught:
        prove(scene_of_the_training(), replace(SCAN, offset_m=0.45))
    [problem] = caught.value.problems
    assert "offset_m: 0.5" in problem.remedy


def test_a_quaternion_with_its_real_part_first_is_named(prove: Prove) -> None:
    scene = scene_of_the_training()
    scene["quat_xyzw"] = np.roll(scene["quat_xyzw"], 1)
    with refusal(BundleError) as caught:
        prove(scene)
    [problem] = caught.value.problems
    assert (Path(problem.file).name, problem.key) == ("scene.npz", "quat_xyzw")


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


def test_a_scene_on_flat_ground_proves_nothing(prove: Prove) -> None:
    scene = scene_of_the_training()
    scene["hits"][:, 2] = 0.0
    with refusal(BundleError):
        prove(scene)


def test_a_miss_is_the_value_that_the_contract_states(prove: Prove) -> None:
    scene, scan = scene_of_the_training(), replace(SCAN, reach_m=2.0, miss=2.0, offset_m=0.0)
    scene["values"] = 2.0 * np.clip(scene["values"] / 2.0 + 0.5, -1.0, 1.0)
    scene["hits"][5] = np.inf
    scene["values"][5] = 2.0
    prove(scene, scan)
    with refusal(BundleError):
        prove(scene, replace(scan, miss=-2.0))
