# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Verification of a contract's height scan section against a scan recorded in training.

Training code places the robot beside a step, with roll, pitch and yaw, and saves four arrays
(.npz):

`hits` [points, 3]       where each ray hit the ground, world frame, m; not finite for a miss
`position` [3]           position of the base, world frame, m
`quat_xyzw` [4]          rotation from the base to the world frame
`values` [points]        values that the policy observed, after clip and scale
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from policy_core.bundle.arrays import check_array, unpacked_arrays
from policy_core.bundle.bundle import CONTRACT_FILE, AnyBundle
from policy_core.bundle.contract import File, Observation, Term
from policy_core.bundle.height_scan import HeightScan, ScanGrid
from policy_core.bundle.schema import Found, Reader
from policy_core.bundle.verified import verified_bytes
from policy_core.errors import BundleError, Problem, RobotError
from policy_core.interfaces import F64
from policy_core.observation.height_scan import HeightScanner
from policy_core.observation.rows import clip_bounds

_LARGEST_BYTES = 1_000_000
_TOLERANCE_M, _TOLERANCE = 2e-3, 1e-3
"""Tolerances for the distance from a hit to its ray, m, and for a value (absolute or relative).
"""
_FLATTEST_M = 0.05
_OF_GRID, _OF_SCAN = ("order", "x", "y"), ("alignment", "heading", "value")
"""Keys of the contract for which a scene must rule out all other values."""
_CHANGED = (*(f"grid.{name}" for name in _OF_GRID), *_OF_SCAN, "offset_m")
"""Keys that the remedy for a mismatched scene may name."""
_OFFSET_DIGITS = 3
T = TypeVar("T", HeightScan, ScanGrid)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ScanScene:
    """A scan recorded in training; see the module docstring."""

    hits: F64
    position: F64
    quat_xyzw: F64
    values: F64


def check_scenes(bundle: AnyBundle) -> None:
    """Verify each height scan in a policy's contract for which a scene was recorded.

    Raises:
        BundleError: A scene contradicts the contract, also matches other contracts, or cannot be
            read.
    """
    problems = list[Problem]()
    for key, (observation, term) in bundle.contract.scenes.items():
        assert term.scan is not None
        assert term.scene is not None
        scene = _read(bundle.path, term.scene, term.scan.count)
        array, expected, found, remedy = _judged(term, observation, scene)
        if expected:
            problems.append(
                Problem(
                    file=str(bundle.path / (term.scene.file if array else CONTRACT_FILE)),
                    key=array or f"{key}.scan",
                    expected=expected,
                    found=found,
                    remedy=remedy,
                )
            )
    if problems:
        raise BundleError(*problems)


def _judged(term: Term, observation: Observation, scene: ScanScene) -> tuple[str, str, str, str]:
    """Return the problem with a scene: wrong array, expected value, found value, remedy.

    The array is "" if the contract is wrong; all four are "" if there is no problem.
    """
    assert term.scan is not None
    heights = scene.hits[np.isfinite(scene.hits).all(axis=1), 2]
    if not heights.size or np.ptp(heights) < _FLATTEST_M:
        return (
            "hits",
            f"ground heights that differ by at least {_FLATTEST_M:g} m",
            "flat ground, on which different contracts give the same values",
            "record the scene again beside a step",
        )
    found = _misfit(term, observation, scene)
    if found:
        reordered = replace(scene, quat_xyzw=np.roll(scene.quat_xyzw, -1))
        if not _misfit(term, observation, reordered):
            found = "w, x, y, z (the scene is consistent with that order)"
            return "quat_xyzw", "x, y, z, w", found, "move w to the end"
        changes = _changes(term, observation, scene)
        remedy = f"the scene is consistent with {' or with '.join(changes)}" if changes else ""
        return "", "the training scan in `scene`", found, remedy
    others = _fitting(_alternatives(term.scan), term, observation, scene)
    if others:
        return (
            "quat_xyzw",
            "a scene that fits this contract alone",
            f"one that also fits {' or '.join(others)}",
            "record it again with roll, pitch and yaw of 0.2 rad or more, beside a step",
        )
    return "", "", "", ""


def _fitting(
    scans: Iterable[tuple[str, HeightScan]], term: Term, observation: Observation, scene: ScanScene
) -> list[str]:
    """Return the names of the scans that fit the scene."""
    return [
        name for name, scan in scans if not _misfit(replace(term, scan=scan), observation, scene)
    ]


def _changes(term: Term, observation: Observation, scene: ScanScene) -> list[str]:
    """Return the changes to one key (if none, to two keys) that make a scan fit the scene."""
    assert term.scan is not None
    one = [*_alternatives(term.scan), *_other_offset(term, observation, scene)]
    if found := _fitting(one, term, observation, scene):
        return found
    two = list[tuple[str, HeightScan]]()
    for first, changed in _alternatives(term.scan):
        also = _other_offset(replace(term, scan=changed), observation, scene)
        for second, scan in (*_alternatives(changed), *also):
            if _place(first) < _place(second):
                two.append((f"{first} and {second}", scan))
    return _fitting(two, term, observation, scene)


def _place(change: str) -> int:
    """Return a changed key's index among all keys, so each pair is tried only once."""
    return _CHANGED.index(change.partition(":")[0])


def _other_offset(
    term: Term, observation: Observation, scene: ScanScene
) -> Iterator[tuple[str, HeightScan]]:
    """Yield the change to the offset that best fits the scene's values, and the changed scan."""
    scan = term.scan
    assert scan is not None
    scanner = HeightScanner(scan)
    scanner.take_hits(scene.hits, scene.position, scene.quat_xyzw)
    try:
        scanner.see()
    except RobotError:
        return
    scale = np.broadcast_to(np.asarray(term.scale, dtype=np.float64), scanner.values.shape)
    low, high = clip_bounds(term, observation, scale)
    within = (low + _TOLERANCE < scene.values) & (scene.values < high - _TOLERANCE) & (scale != 0.0)
    if not within.any():
        return
    off = scanner.values[within] - scene.values[within] / scale[within]
    offset_m = round(scan.offset_m + float(np.median(off)), _OFFSET_DIGITS)
    # For ground_minus_mean, the frame's height cancels out, so any offset could fit a scene.
    if offset_m != scan.offset_m and (scan.value != "ground_minus_mean" or not offset_m):
        yield f"offset_m: {offset_m:g}", replace(scan, offset_m=offset_m)


def _misfit(term: Term, observation: Observation, scene: ScanScene) -> str:
    """Return the first contradiction between a scan and its scene, in words; "" if they fit."""
    assert term.scan is not None
    scanner = HeightScanner(term.scan)
    off_m = scanner.take_hits(scene.hits, scene.position, scene.quat_xyzw)
    if (wrong := off_m > _TOLERANCE_M).any():
        i = int(wrong.argmax())
        return f"a scene whose point {i} is {off_m[i]:.3f} m from its ray"
    try:
        scanner.see()
    except RobotError as error:
        return str(error)
    scale = np.broadcast_to(np.asarray(term.scale, dtype=np.float64), scanner.values.shape)
    values = np.clip(scanner.values * scale, *clip_bounds(term, observation, scale))
    wrong = np.abs(values - scene.values) > _TOLERANCE * np.maximum(1.0, np.abs(scene.values))
    if wrong.any():
        i = int(wrong.argmax())
        return (
            f"{scene.values[i]:.4g} for value {i} in the scene, but {values[i]:.4g} when "
            "computed with the contract"
        )
    return ""


def _alternatives(scan: HeightScan) -> Iterator[tuple[str, HeightScan]]:
    """Yield each change to a key that a scene must determine, with the changed scan."""
    grid = scan.grid
    if grid is not None:
        for name in _OF_GRID:
            for value in _choices(ScanGrid, name):
                if value != getattr(grid, name):
                    yield f"grid.{name}: {value}", replace(scan, grid=_with(grid, name, value))
    for name in _OF_SCAN:
        if name == "heading" and scan.alignment != "yaw":
            continue
        for value in _choices(HeightScan, name):
            if value == getattr(scan, name):
                continue
            other = _with(scan, name, value)
            if name == "alignment":
                other = replace(other, heading="rotated_x" if value == "yaw" else None)
            yield f"{name}: {value}", other


def _with(section: T, name: str, value: str) -> T:
    changed: dict[str, Any] = {name: value}
    return replace(section, **changed)


def _choices(section: type[Any], name: str) -> list[str]:
    """Return the values that a section may have for this key."""
    kind = get_type_hints(section)[name]
    literals = [kind] if get_origin(kind) is Literal else get_args(kind)
    return [choice for each in literals for choice in get_args(each)]


def _read(folder: Path, entry: File, count: int) -> ScanScene:
    """Return a scene from its file in the bundle.

    Raises:
        BundleError: The file is missing, has a wrong hash, or does not contain the expected arrays.
    """
    file = folder / entry.file
    shapes = {"hits": (count, 3), "position": (3,), "quat_xyzw": (4,), "values": (count,)}
    arrays = unpacked_arrays(file, verified_bytes(folder, entry), shapes, _LARGEST_BYTES)
    reader = Reader(str(file))
    for name, shape in shapes.items():
        # A ray that meets nothing has no hit.
        check_array(arrays.get(name), shape, reader, name, np.floating, finite=name != "hits")
    reader.require_none()
    length = float(np.linalg.norm(arrays["quat_xyzw"]))
    if not math.isclose(length, 1.0, abs_tol=0.01):
        reader.problem("quat_xyzw", "a quaternion of length 1", Found(f"{length:.3g}"))
    reader.require_none()
    return ScanScene(**{name: arrays[name].astype(np.float64) for name in shapes})
