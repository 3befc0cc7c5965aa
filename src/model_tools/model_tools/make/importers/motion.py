# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The reference motion of an imported policy: a file of the user, or the frames inside the model.

BeyondMimic's exporter and mjlab's put the motion into the model: an input `time_step` chooses the
frame, and outputs beside the action give it. The bundle gets these frames as its clip, since a tick
needs its frame before the model runs.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime

from model_tools.errors import ToolError
from model_tools.files.onnx_model import OnnxModel
from model_tools.make.importers.anchor import anchor_chain
from model_tools.make.importers.draft import TODO, Draft
from model_tools.make.importers.onnx_metadata import stated_names
from policy_inference.bundle.clip import BODY_ARRAYS, JOINT_ARRAYS
from policy_inference.bundle.terms import TERMS
from policy_inference.interfaces import Tensor

CLIP_FILE = "motion.npz"
_COUNTER = "time_step"
_ANCHOR = "motion.anchor"


def put_motion(draft: Draft, model: OnnxModel, clip: Path | None, robot: Path | None) -> None:
    """Write what the terms of a reference motion need; ask for what is not known.

    Args:
        draft: Has its terms and, where the source states it, the anchor's body.
        model: Whose motion it is.
        clip: File of the user; None for the frames inside the model, where it has some.
        robot: Description of the robot, for the way to the anchor.

    Raises:
        ToolError: A clip was given for a policy without such terms, or the robot has no such body.
        OSError: The file cannot be read.
    """
    fields = {TERMS[name].field for name in _terms(draft) if name in TERMS}
    if not any(field.startswith("motion_") for field in fields):
        if clip is not None:
            raise ToolError(f"--motion {clip}: expected a policy that tracks a motion, found none")
        draft.values.pop("motion", None)
        return
    _put_clip(draft, model, clip)
    draft.ask("motion.at_end", "what follows the last frame: hold or loop")
    if not any(field.startswith("motion_anchor_") for field in fields):
        draft.values["motion"].pop("anchor", None)
        return
    draft.ask(f"{_ANCHOR}.body", "body whose pose the training compares with the motion's")
    body = draft.find(f"{_ANCHOR}.body")
    if robot is not None and isinstance(body, str) and _is_open(draft, f"{_ANCHOR}.chain"):
        draft.put(f"{_ANCHOR}.chain", anchor_chain(robot, body), f"from {robot.name}")
    draft.ask(
        f"{_ANCHOR}.chain",
        "offsets and joints from the base to the anchor; --robot FILE with that body gives them, "
        "[] means that it is the base",
    )


def _terms(draft: Draft) -> set[str]:
    return {term["term"] for _, term in draft.terms() if isinstance(term["term"], str)}


def _is_open(draft: Draft, key: str) -> bool:
    found = draft.find(key)
    return found is None or (isinstance(found, Mapping) and TODO in found)


def _put_clip(draft: Draft, model: OnnxModel, clip: Path | None) -> None:
    frames = model.rows_chosen_by(_COUNTER) if clip is None else None
    if clip is not None:
        content, origin = clip.read_bytes(), f"from {clip.name}"
    elif frames and _has_frames(model) and isinstance(draft.find("rate_hz"), (int, float)):
        arrays = frames_of(model, frames, float(draft.find("rate_hz")))
        content, origin = _packed(arrays), f"{frames} frames inside {model.path.name}"
        if _is_open(draft, "stand.position"):
            _put_first_pose(draft, arrays)
    else:
        inside = ""
        if frames and _has_frames(model):
            inside = "; answer rate_hz, and the frames in the model are taken"
        elif frames:
            inside = (
                f"; the {frames} frames in the model are not taken, since it lacks their outputs "
                "or the names of joints and bodies"
            )
        draft.ask("motion.clip", f"the motion, an npz with names: --motion FILE{inside}")
        return
    draft.keep("motion.clip", CLIP_FILE, content, origin)


def _put_first_pose(draft: Draft, arrays: Mapping[str, Tensor]) -> None:
    """Let the robot stand as the motion begins."""
    places = {str(name): i for i, name in enumerate(arrays["joint_names"])}
    names, first = draft.find("joints.names"), arrays["joint_pos"][0]
    if all(name in places for name in names):
        pose = [round(float(first[places[name]]), 4) for name in names]
        draft.put("stand.position", pose, "first frame of the motion")


def _has_frames(model: OnnxModel) -> bool:
    """Return whether a model gives joints and bodies of its motion, and names them."""
    names = (*JOINT_ARRAYS[2:], *BODY_ARRAYS[1:])
    stated = stated_names(model.metadata)
    return all(name in model.outputs for name in names) and all(stated)


def frames_of(model: OnnxModel, frames: int, rate_hz: float) -> dict[str, Tensor]:
    """Return the clip inside a model, whose other inputs do not change it.

    Raises:
        ToolError: The names in the metadata are not as many as the values.
    """
    joints, bodies = stated_names(model.metadata)
    session = onnxruntime.InferenceSession(model.path, providers=["CPUExecutionProvider"])
    outputs = (*JOINT_ARRAYS[2:], *BODY_ARRAYS[1:])
    feed = {
        name: np.zeros([max(1, axis) for axis in tensor.shape], tensor.dtype)
        for name, tensor in model.inputs.items()
    }
    rows = dict[str, list[Tensor]]((name, []) for name in outputs)
    for frame in range(frames):
        feed[_COUNTER][...] = frame
        for name, value in zip(outputs, session.run(list(outputs), feed), strict=True):
            rows[name].append(value[0])
    found = {name: np.array(values) for name, values in rows.items()}
    for names, name in ((joints, "joint_pos"), (bodies, "body_pos_w")):
        if found[name].shape[1] != len(names):
            raise ToolError(
                f"{model.path.name}: expected the names of the {found[name].shape[1]} values of "
                f"{name} in the metadata, found {len(names)}"
            )
    return {
        "fps": np.array(rate_hz),
        "joint_names": np.array(joints),
        "body_names": np.array(bodies),
        **found,
    }


def _packed(arrays: Mapping[str, Tensor]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **arrays)
    return stream.getvalue()
