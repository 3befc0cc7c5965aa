# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Clip of a reference motion: an npz file with named joints and bodies.

Its arrays are those used for motion tracking in Isaac Lab and mjlab, plus the names.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from policy_core.bundle.arrays import check_array, found_array, unpacked_arrays
from policy_core.bundle.contract import JointContract
from policy_core.bundle.schema import Found, Reader
from policy_core.bundle.verified import LARGEST_BYTES, verified_bytes
from policy_core.errors import BundleError
from policy_core.interfaces import F64, Tensor

JOINT_ARRAYS = ("fps", "joint_names", "joint_pos", "joint_vel")
BODY_ARRAYS = ("body_names", "body_pos_w", "body_quat_w")
_FEWEST_FRAMES = 2
_RATE_TOLERANCE = 1e-4
"""Relative tolerance for the rate: over 10 s, the motion drifts at most 1 ms from the clip."""
_UNIT_TOLERANCE = 0.01
_CONVERT = "`model_tools motion` makes a clip for this contract"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MotionClip:
    """Frames of a reference motion, one per tick.

    Attributes:
        joint_pos: Joint positions [frames, joints] in contract order, rad.
        joint_vel: Joint velocities [frames, joints] in contract order, rad/s.
        anchor_pos: Anchor positions in the clip's world frame [frames, 3], m; shape [0, 3] if the
            contract names no anchor.
        anchor_quat_xyzw: Anchor orientations, from anchor to the clip's world frame [frames, 4];
            unit quaternions.
    """

    joint_pos: F64
    joint_vel: F64
    anchor_pos: F64
    anchor_quat_xyzw: F64


def read_clip(folder: Path, contract: JointContract) -> MotionClip | None:
    """Return the clip for a contract's reference motion; None if the motion has no clip.

    Raises:
        BundleError: The file is missing, has a wrong hash or contains no names, or the clip is for
            a different robot or rate, has values that are not finite, or begins too far from the
            stand pose; lists every problem.
    """
    if contract.motion is None or contract.motion.clip is None:
        return None
    file = folder / contract.motion.clip.file
    content = verified_bytes(folder, contract.motion.clip)
    arrays = unpacked_arrays(file, content, (*JOINT_ARRAYS, *BODY_ARRAYS), LARGEST_BYTES)
    reader = Reader(str(file))
    clip = _clip(arrays, contract, reader)
    if clip is None or reader.problems:
        raise BundleError(*reader.problems)
    return clip


def _clip(
    arrays: Mapping[str, Tensor], contract: JointContract, reader: Reader
) -> MotionClip | None:
    """Return the clip; if it is invalid, add the problems to `reader` and return None."""
    _check_rate(arrays.get("fps"), contract.rate_hz, reader)
    joints = _places(arrays, "joint_names", contract, reader)
    bodies = _places(arrays, "body_names", contract, reader) if _anchored(contract) else []
    if joints is None or bodies is None:
        return None
    frames, names = len(np.atleast_1d(arrays.get("joint_pos", 0))), arrays["joint_names"].size
    shapes: dict[str, tuple[int, ...]]
    shapes = dict.fromkeys(("joint_pos", "joint_vel"), (frames, names))
    if bodies:
        size = arrays["body_names"].size
        shapes |= {"body_pos_w": (frames, size, 3), "body_quat_w": (frames, size, 4)}
    right = [
        check_array(arrays.get(name), shape, reader, name, np.floating)
        for name, shape in shapes.items()
    ]
    if not all(right):
        return None
    found = [arrays[name].astype(np.float64) for name in shapes]
    if frames < _FEWEST_FRAMES:
        reader.problem("joint_pos", f"at least {_FEWEST_FRAMES} frames", frames)
        return None
    pos, quat = (array[:, bodies[0]] for array in found[2:]) if bodies else _nowhere()
    clip = MotionClip(
        joint_pos=found[0][:, joints],
        joint_vel=found[1][:, joints],
        anchor_pos=pos,
        anchor_quat_xyzw=_unit(quat, reader),
    )
    _check_start(clip.joint_pos[0], contract, reader)
    return clip


def _anchored(contract: JointContract) -> bool:
    return contract.motion is not None and contract.motion.anchor is not None


def _nowhere() -> tuple[F64, F64]:
    return np.zeros((0, 3)), np.zeros((0, 4))


def _check_rate(fps: Tensor | None, rate_hz: float, reader: Reader) -> None:
    if fps is None or fps.size != 1 or not np.issubdtype(fps.dtype, np.number):
        reader.problem("fps", "the rate of the frames, Hz", found_array(fps))
    elif not math.isclose(found := float(fps.item()), rate_hz, rel_tol=_RATE_TOLERANCE):
        reader.problem("fps", f"{rate_hz:g} Hz (the policy's rate)", found, _CONVERT)


def _places(
    arrays: Mapping[str, Tensor], key: str, contract: JointContract, reader: Reader
) -> list[int] | None:
    """Return the clip's indices for the contract's joints, or the index of its anchor.

    If a name is missing or appears twice, add the problem to `reader` and return None.
    """
    array = arrays.get(key)
    if array is None or array.ndim != 1 or array.dtype.kind != "U":
        what = {"joint_names": "joints", "body_names": "bodies"}[key]
        reader.problem(
            key,
            f"the names of the {what} in order",
            found_array(array),
            f"the order differs between tools; {_CONVERT}",
        )
        return None
    names = [str(name) for name in array]
    doubled = sorted({name for name in names if names.count(name) > 1})
    wanted = _wanted(key, contract)
    missing = [all_names[0] for all_names in wanted if not any(n in names for n in all_names)]
    if doubled:
        reader.problem(key, "each name once", Found(f"{', '.join(doubled)} several times"))
    if missing:
        reader.problem(
            key,
            f"a clip that contains {', '.join(missing)}",
            Found(f"only {', '.join(names)}"),
        )
    if doubled or missing:
        return None
    return [next(names.index(n) for n in all_names if n in names) for all_names in wanted]


def _wanted(key: str, contract: JointContract) -> Sequence[Sequence[str]]:
    """Return the names that a clip may use for each joint, or for the anchor."""
    if key == "joint_names":
        return [*zip(contract.joints.names, contract.joints.on_robot(), strict=True)]
    assert contract.motion is not None
    assert contract.motion.anchor is not None
    return [(contract.motion.anchor.body,)]


def _unit(quat_wxyz: F64, reader: Reader) -> F64:
    """Return the normalized orientations [frames, 4], reordered to x, y, z, w."""
    length = np.linalg.norm(quat_wxyz, axis=1)
    wrong = np.flatnonzero(np.abs(length - 1.0) > _UNIT_TOLERANCE)
    if wrong.size:
        reader.problem(
            "body_quat_w",
            "unit quaternions (w, x, y, z)",
            Found(f"one of length {length[wrong[0]]:.3g} in frame {wrong[0]}"),
        )
        return quat_wxyz
    return np.roll(quat_wxyz / length[:, None], -1, axis=1)


def _check_start(first: F64, contract: JointContract, reader: Reader) -> None:
    """Check that the motion begins near the stand pose, where RUN begins."""
    stand = contract.stand
    for i in np.flatnonzero(np.abs(first - stand.position) > stand.tolerance):
        reader.problem(
            f"joint_pos[0] of {contract.joints.names[i]}",
            f"the motion to begin at most {stand.tolerance[i]:g} rad from stand.position "
            f"({stand.position[i]:g})",
            round(first[i].item(), 4),
            "set stand.position to the first frame, or trim the clip",
        )
