# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Reference motion of an imported policy: a file from the user, or the frames inside the model.

The exporters of BeyondMimic, mjlab and holosoma store the motion in the model. The `time_step`
input selects a frame, which outputs other than the action return, with the poses of all bodies or
only the anchor's. The bundle stores these frames as its clip, since a tick needs its frame before
the model runs.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from model_tools.errors import ToolError
from model_tools.files.onnx_model import OnnxModel
from model_tools.make.importers.anchor import anchor_chain
from model_tools.make.importers.draft import TODO, Draft
from model_tools.make.importers.onnx_metadata import stated_names
from policy_core.bundle.arrays import unpacked_arrays
from policy_core.bundle.clip import BODY_ARRAYS, JOINT_ARRAYS
from policy_core.bundle.terms import TERMS
from policy_core.bundle.verified import LARGEST_BYTES
from policy_core.interfaces import Tensor

CLIP_FILE = "motion.npz"
_COUNTER = "time_step"
_ANCHOR = "motion.anchor"
_JOINTS, _BODIES = JOINT_ARRAYS[2:], BODY_ARRAYS[1:]
_ANCHOR_OUTPUTS = ("ref_pos_xyz", "ref_quat_xyzw")
"""Outputs of holosoma's models: the pose of the anchor instead of those of all bodies."""


def put_motion(draft: Draft, clip: Path | None, robot: Path | None) -> None:
    """Write the `motion` section if terms read a reference motion; ask for unknown keys.

    Args:
        draft: Draft that has its terms and, if the source states it, the anchor's body.
        clip: File from the user; None for the frames inside the model, if there are any.
        robot: Robot description, for the chain to the anchor.
    """
    names = {term["term"] for _, term in draft.terms() if isinstance(term["term"], str)}
    fields = {TERMS[name].field for name in names if name in TERMS}
    if not any(field.startswith("motion_") for field in fields):
        if clip is not None:
            raise ToolError(
                f"--motion {clip}: expected a policy that tracks a motion, found one that does not"
            )
        draft.values.pop("motion", None)
        return
    has_anchor = any(field.startswith("motion_anchor_") for field in fields)
    if has_anchor:
        draft.ask(f"{_ANCHOR}.body", "body whose pose the training compares with the motion's")
    _put_clip(draft, clip, has_anchor=has_anchor)
    draft.ask("motion.at_end", "behavior after the last frame: hold or loop")
    if not has_anchor:
        draft.values["motion"].pop("anchor", None)
        return
    body = draft.find(f"{_ANCHOR}.body")
    if robot is not None and isinstance(body, str) and _is_open(draft, f"{_ANCHOR}.chain"):
        draft.put(f"{_ANCHOR}.chain", anchor_chain(robot, body), f"from {robot.name}")
    draft.ask(
        f"{_ANCHOR}.chain",
        "offsets and joints from the base to the anchor; --robot FILE with that body states "
        "them; [] means that the body is the base",
    )


def _is_open(draft: Draft, key: str) -> bool:
    found = draft.find(key)
    return found is None or (isinstance(found, Mapping) and TODO in found)


def _put_clip(draft: Draft, clip: Path | None, *, has_anchor: bool) -> None:
    if clip is not None:
        content, origin = clip.read_bytes(), f"from {clip.name}"
        names = ("joint_names", "joint_pos")
        _put_first_pose(draft, unpacked_arrays(clip, content, names, LARGEST_BYTES))
        draft.keep("motion.clip", CLIP_FILE, content, origin)
        return
    model = draft.model
    inside, missing = "", _missing(draft, has_anchor=has_anchor)
    if missing == []:
        arrays = _read_frames(draft, has_anchor=has_anchor)
        _put_first_pose(draft, arrays)
        origin = f"{len(arrays['joint_pos'])} frames inside {model.path.name}"
        draft.keep("motion.clip", CLIP_FILE, _packed(arrays), origin)
        return
    if missing is not None:
        inside = f"; if you answer {' and '.join(missing)}, the frames in the model are used"
    elif model.rows_chosen_by(_COUNTER):
        inside = (
            "; the frames in the model cannot be used, since it lacks their outputs or the names "
            "of joints and bodies"
        )
    draft.ask("motion.clip", f"the motion as an .npz file with names (--motion FILE){inside}")


def _put_first_pose(draft: Draft, arrays: Mapping[str, Tensor]) -> None:
    """Set the standing pose to the first frame of the motion, unless already set."""
    names = draft.find("joints.names")
    if not _is_open(draft, "stand.position") or not isinstance(names, list):
        return
    if not {"joint_names", "joint_pos"} <= arrays.keys() or arrays["joint_pos"].ndim != 2:
        return  # the loader reports problems of this clip
    clip = dict(zip(map(str, arrays["joint_names"]), arrays["joint_pos"][0].tolist(), strict=False))
    on_robot: Mapping[str, str] = draft.find("joints.robot_names") or {}
    keys = [name if name in clip else on_robot.get(name, name) for name in names]
    if all(key in clip for key in keys):
        pose = [round(clip[key], 4) for key in keys]
        draft.put("stand.position", pose, "first frame of the motion")


def _missing(draft: Draft, *, has_anchor: bool) -> list[str] | None:
    """Return the keys that the user must add to a model's frames; None if it has no frames."""
    model = draft.model
    joints, bodies = stated_names(model.metadata)
    if not (model.rows_chosen_by(_COUNTER) and joints and _gives(model, _JOINTS)):
        return None
    missing = [] if isinstance(draft.find("rate_hz"), (int, float)) else ["rate_hz"]
    if not has_anchor or (bodies and _gives(model, _BODIES)):
        return missing
    if not _gives(model, _ANCHOR_OUTPUTS):
        return None
    return missing if _anchor_body(draft) else [*missing, f"{_ANCHOR}.body"]


def _gives(model: OnnxModel, names: Sequence[str]) -> bool:
    return all(name in model.outputs for name in names)


def _anchor_body(draft: Draft) -> str:
    body = draft.find(f"{_ANCHOR}.body")
    return body if isinstance(body, str) else ""


def _read_frames(draft: Draft, *, has_anchor: bool) -> dict[str, Tensor]:
    """Return the clip stored in a model; the model's other inputs do not affect it."""
    model = draft.model
    joints, bodies = stated_names(model.metadata)
    outputs: tuple[str, ...] = _JOINTS
    if has_anchor:
        outputs = (*_JOINTS, *(_BODIES if _gives(model, _BODIES) else _ANCHOR_OUTPUTS))
    found = _rows(model, outputs)
    if has_anchor and not _gives(model, _BODIES):
        bodies, (pos, quat_xyzw) = [_anchor_body(draft)], (found.pop(n) for n in _ANCHOR_OUTPUTS)
        found["body_pos_w"] = pos[:, None]
        found["body_quat_w"] = np.roll(quat_xyzw, 1, axis=1)[:, None]
    for names, name in ((joints, "joint_pos"), (bodies, "body_pos_w")):
        if name in found and found[name].shape[1] != len(names):
            raise ToolError(
                f"{model.path.name}: expected {found[name].shape[1]} names in the metadata (one "
                f"for each value of {name}), found {len(names)}"
            )
    if has_anchor:
        found["body_names"] = np.array(bodies)
    return {
        "fps": np.array(float(draft.find("rate_hz"))),
        "joint_names": np.array(joints),
        **found,
    }


def _rows(model: OnnxModel, outputs: Sequence[str]) -> dict[str, Tensor]:
    """Return outputs [frames, ...], by name, for each tick count that selects a frame."""
    session = onnxruntime.InferenceSession(model.path, providers=["CPUExecutionProvider"])
    feed = {
        name: np.zeros([max(1, axis) for axis in tensor.shape], tensor.dtype)
        for name, tensor in model.inputs.items()
    }
    rows = dict[str, list[Tensor]]((name, []) for name in outputs)
    for frame in range(model.rows_chosen_by(_COUNTER) or 0):
        feed[_COUNTER][...] = frame
        for name, value in zip(outputs, session.run(list(outputs), feed), strict=True):
            rows[name].append(value[0])
    return {name: np.array(values) for name, values in rows.items()}


def _packed(arrays: Mapping[str, Tensor]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)
    return stream.getvalue()
