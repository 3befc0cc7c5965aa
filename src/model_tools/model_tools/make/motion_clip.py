# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Makes a bundle's clip from a motion file: adds names, cuts, resamples to the policy's rate."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.arrays import read_arrays
from model_tools.make.importers.anchor import body_poses, find_base
from policy_core.bundle.clip import BODY_ARRAYS, JOINT_ARRAYS
from policy_core.errors import plural
from policy_core.interfaces import Tensor

_POSE = ("x", "y", "z", "qx", "qy", "qz", "qw")
"""First columns of a CSV: pose of the base, as position (m) and quaternion."""
_FEWEST_FRAMES = 2


def make_clip(
    source: Path,
    *,
    rate_hz: float,
    fps: float | None = None,
    joints: Sequence[str] = (),
    bodies: Sequence[str] = (),
    frames: tuple[int, int] | None = None,
    robot: Path | None = None,
    anchor: str | None = None,
) -> dict[str, Tensor]:
    """Return the arrays of a clip, as listed in docs/motion.md.

    Args:
        source: `.npz` with arrays like a clip's, or `.csv` with the pose of the base, then the
            joints, one frame per line.
        rate_hz: Rate of the clip; frames are interpolated.
        fps: Frames per second, if the source does not state them.
        joints: Joint names in the source's order, if the source does not state them.
        bodies: Body names in the source's order, if the source does not state them; for a CSV, only
            the base's name.
        frames: First frame, and the one after the last.
        robot: Robot description, to compute an anchor pose that the source lacks.
        anchor: Body whose pose is added.
    """
    if source.suffix == ".csv":
        found = _read_csv(source, joints, bodies)
    else:
        found = _read_npz(source, joints, bodies)
    rate = _stated(source, "fps", found.pop("fps", None), fps)
    if rate.size != 1 or not min(rate.item(), rate_hz) > 0.0:
        raise ToolError(f"{source}: expected rates > 0 Hz, found fps {rate}, --rate-hz {rate_hz:g}")
    begin, end = frames or (0, len(found["joint_pos"]))
    moving = {key: array[begin:end] for key, array in found.items() if not key.endswith("_names")}
    _check_frames(source, moving)
    clip = {key: found[key] for key in found if key.endswith("_names")}
    clip |= {"fps": np.array(rate_hz), **_resampled(moving, rate.item(), rate_hz)}
    if "joint_vel" not in clip:
        clip["joint_vel"] = np.gradient(clip["joint_pos"], 1.0 / rate_hz, axis=0)
    if anchor is not None and anchor not in clip.get("body_names", ()):
        _add_anchor(source, clip, robot, anchor)
    return clip


def _read_npz(file: Path, joints: Sequence[str], bodies: Sequence[str]) -> dict[str, Tensor]:
    arrays = read_arrays(file)
    if "joint_pos" not in arrays:
        raise ToolError(f"{file}: expected the array joint_pos, found only {', '.join(arrays)}")
    found = {name: arrays[name] for name in (*JOINT_ARRAYS, *BODY_ARRAYS) if name in arrays}
    has_bodies = all(name in found for name in BODY_ARRAYS[1:])
    wanted = {"joint_names": joints, **({"body_names": bodies} if has_bodies else {})}
    for key, given in wanted.items():
        names = _stated(file, key, found.get(key), np.array(given) if given else None)
        size = found["joint_pos" if key == "joint_names" else "body_pos_w"].shape[1:2]
        if size != (len(names),):
            raise ToolError(f"{file}: expected {size[0]} values in {key}, found {len(names)}")
        found[key] = np.array([str(name) for name in names])
    if not has_bodies:
        found = {key: array for key, array in found.items() if key not in BODY_ARRAYS}
    return found


def _stated(file: Path, key: str, inside: Tensor | None, given: object) -> Tensor:
    option = {"fps": "--fps", "joint_names": "--joints", "body_names": "--bodies"}[key]
    if inside is not None and given is not None:
        raise ToolError(f"{option}: expected none ({file.name} states {key}), found {given}")
    if inside is None and given is None:
        raise ToolError(f"{file}: expected {key} in the file, found none; pass {option}")
    return np.asarray(given if inside is None else inside)


def _read_csv(file: Path, joints: Sequence[str], bodies: Sequence[str]) -> dict[str, Tensor]:
    with file.open(newline="", encoding="utf-8") as stream:
        lines = [line for line in csv.reader(stream) if line]
    if not lines:
        raise ToolError(f"{file}: expected frames, found an empty file")
    has_header = not _are_numbers(lines[0])
    header = np.array([name.strip() for name in lines.pop(0)]) if has_header else None
    if header is not None and tuple(header[: len(_POSE)]) != _POSE:
        raise ToolError(
            f"{file}: expected the columns {', '.join(_POSE)}, then joints, found "
            f"{', '.join(header)}"
        )
    names = _stated(
        file,
        "joint_names",
        None if header is None else header[len(_POSE) :],
        np.array(joints) if joints else None,
    )
    wrong = next((i for i, line in enumerate(lines) if len(line) != len(_POSE) + len(names)), None)
    if wrong is not None or not all(map(_are_numbers, lines)):
        raise ToolError(
            f"{file}: expected {len(_POSE) + len(names)} numbers per line (the pose of the base "
            f"and {plural(len(names), 'joint')}), found a line with other content"
        )
    if len(bodies) > 1:
        raise ToolError(
            f"--bodies: expected only the base of {file.name}, found {len(bodies)} bodies"
        )
    values = np.array(lines, dtype=np.float64).reshape(-1, len(_POSE) + len(names))
    found = {"joint_names": names, "joint_pos": values[:, len(_POSE) :]}
    if bodies:
        quat = np.roll(values[:, 3:7], 1, axis=1)
        found |= {
            "body_names": np.array(bodies),
            "body_pos_w": values[:, None, :3],
            "body_quat_w": quat[:, None],
        }
    return found


def _are_numbers(line: Sequence[str]) -> bool:
    try:
        np.array(line, dtype=np.float64)
    except ValueError:
        return False
    return True


def _check_frames(file: Path, moving: Mapping[str, Tensor]) -> None:
    """Raise unless all arrays have the same number of frames, at least two, and finite values."""
    counts = {key: len(array) for key, array in moving.items()}
    if min(counts.values()) < _FEWEST_FRAMES or len({*counts.values()}) > 1:
        listed = ", ".join(f"{key} {count}" for key, count in counts.items())
        raise ToolError(
            f"{file}: expected at least {_FEWEST_FRAMES} frames and the same number in each array, "
            f"found {listed}"
        )
    for key, array in moving.items():
        wrong = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
        if wrong.any():
            raise ToolError(
                f"{file}: {key}: expected finite values, found NaN or infinity in frame "
                f"{wrong.argmax()}"
            )


def _resampled(moving: Mapping[str, Tensor], fps: float, rate_hz: float) -> dict[str, Tensor]:
    """Return the arrays interpolated to another rate, orientations along the shorter arc."""
    frames = len(moving["joint_pos"])
    count = math.floor((frames - 1) / fps * rate_hz + 1e-6) + 1
    places = np.minimum(np.arange(count) * fps / rate_hz, frames - 1.0)
    before = np.minimum(places.astype(int), frames - 2)
    found = dict[str, Tensor]()
    for key, array in moving.items():
        values = array.astype(np.float64)
        share = (places - before).reshape(-1, *[1] * (values.ndim - 1))
        first, second = values[before], values[before + 1]
        if key == "body_quat_w":
            second = np.where((first * second).sum(-1, keepdims=True) < 0.0, -second, second)
        mixed = first + share * (second - first)
        if key == "body_quat_w":
            mixed = mixed / np.linalg.norm(mixed, axis=-1, keepdims=True)
        found[key] = mixed
    return found


def _add_anchor(file: Path, clip: dict[str, Tensor], robot: Path | None, anchor: str) -> None:
    """Add the pose of a body, computed from the base and the joints."""
    if robot is None:
        raise ToolError(
            f"{file}: expected the pose of {anchor}, found none; --robot FILE computes it from the "
            "base and the joints"
        )
    base = find_base(robot)
    names = [str(name) for name in clip.get("body_names", ())]
    if base not in names:
        raise ToolError(
            f"{file}: expected the pose of {base} (the base of {robot}), found poses of "
            f"{', '.join(names) or 'no bodies'}; for a CSV, name the base with --bodies {base}"
        )
    i = names.index(base)
    pos, quat = clip["body_pos_w"][:, i].astype(float), clip["body_quat_w"][:, i].astype(float)
    joints = [str(name) for name in clip["joint_names"]]
    there = body_poses(robot, anchor, joints, clip["joint_pos"].astype(float), pos, quat)
    clip["body_names"] = np.array([*names, anchor])
    for key, added in zip(BODY_ARRAYS[1:], there, strict=True):
        clip[key] = np.concatenate([clip[key], added[:, None]], axis=1)


def named(given: str | None) -> list[str]:
    """Return the names in a comma-separated list."""
    return [name.strip() for name in given.split(",")] if given else []


def as_frames(given: str | None) -> tuple[int, int] | None:
    """Return the range given by `FIRST:END`."""
    if given is None:
        return None
    first, colon, end = given.partition(":")
    if not (colon and first.isdigit() and end.isdigit() and int(first) < int(end)):
        raise ToolError(f"--frames: expected FIRST:END (such as 100:600), found {given!r}")
    return int(first), int(end)
