# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Inputs of an importer: the parsed source file, the user's joints, and facts from the model."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model_tools.errors import ToolError
from model_tools.files.file_types import refuse_checkpoint
from model_tools.files.foreign import Node, load_foreign_yaml
from model_tools.files.onnx_model import (
    CHECKPOINT_SHA256,
    DYNAMIC,
    OBS_STATS,
    ModelTensor,
    OnnxModel,
    read_onnx,
)
from model_tools.make.importers.draft import Draft
from model_tools.make.importers.joints import GivenJoints

POLICY_GROUP = "policy"
"""Group of Isaac Lab's observations that is imported."""
ONNX_SUFFIX = ".onnx"
MODEL_FILE = "policy.onnx"
_ACTION_OUTPUTS = ("actions", "action")
_COUNTERS = ("time_step",)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSource:
    """A source file: `root` is its YAML, or the metadata of an ONNX model."""

    path: Path
    root: Node
    model: OnnxModel | None = None

    def has(self, *keys: str) -> bool:
        """Return whether the file is a mapping with all these keys."""
        return isinstance(self.root.value, dict) and all(key in self.root.value for key in keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """The user's options other than the source."""

    model: Path | None = None
    joints: GivenJoints | None = None

    def refuse_joints(self, source: TrainingSource, stated: str) -> None:
        """Raise if `--joints` was given for a source that names its joints."""
        if self.joints is not None:
            raise ToolError(
                f"--joints: expected none ({stated} in {source.path.name} names "
                f"the policy's joints in their order), found "
                f"{self.joints.origin or ', '.join(self.joints.names)}; --robot FILE "
                "takes limits from a URDF or MJCF, and --set joints.robot_names states the "
                "robot's own joint names, where they differ"
            )


def read_source(path: Path) -> TrainingSource:
    if path.is_dir():
        raise ToolError(f"{path}: expected a file, found a folder; name the file in it")
    if path.suffix == ONNX_SUFFIX:
        model = read_onnx(path)
        root = Node(path.name, dict(model.metadata))
        return TrainingSource(path=path, root=root, model=model)
    with path.open("rb") as file:
        refuse_checkpoint(path, file)
    return TrainingSource(path=path, root=Node(path.name, load_foreign_yaml(path)))


def find_model(source: TrainingSource, given: Given) -> OnnxModel:
    """Return the source if it is a model, otherwise the model that the user named."""
    if source.model is not None:
        if given.model not in (None, source.path):
            raise ToolError(
                f"--model: expected none beside {source.path} (which is the model itself), found "
                f"{given.model}"
            )
        return source.model
    if given.model is None:
        raise ToolError(
            f"{source.path.name}: expected --model policy.onnx (for the names and shapes of its "
            "tensors), found none"
        )
    return read_onnx(given.model)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensors:
    """The inputs of a model that terms fill, and the output that commands the joints."""

    observations: dict[str, int | None]
    """Number of values of each input that terms fill; None for a dynamic size."""
    action: str | None
    """Name of the action output; None if several are possible."""


def put_model(draft: Draft, feedback: Sequence[tuple[str, str]] = ()) -> Tensors:
    """Write the tensors, artifact, recurrent state and tick counters; return the other tensors.

    Args:
        draft: Draft to change.
        feedback: Pairs of inputs and the outputs fed back to them, in addition to those named
            `<x>_in` and `<x>_out`.
    """
    model = draft.model
    model.require_finite()
    for kind, tensors in (("inputs", model.inputs), ("outputs", model.outputs)):
        for name, tensor in tensors.items():
            _put_tensor(draft, model, ("model", kind, name), tensor)
    integers = {"integers": model.integers} if model.integers else {}
    draft.put(
        ("model", "artifacts", "onnx"),
        {"file": MODEL_FILE, "sha256": model.sha256, "precision": model.precision, **integers},
    )
    if model.producer:
        draft.put("provenance.exporter", model.producer, f"from {model.path.name}")
    if checkpoint := model.metadata.get(CHECKPOINT_SHA256):
        draft.put("provenance.checkpoint_sha256", checkpoint, f"from {model.path.name}")
    named = {
        name: f"{name.removesuffix('_in')}_out" for name in model.inputs if name.endswith("_in")
    }
    known = {into: out for into, out in named.items() if out in model.outputs}
    pairs = [*(known | dict(feedback)).items()]
    if pairs:
        draft.put(
            "state",
            [{"input": into, "output": out} for into, out in pairs],
            "zeros when RUN begins",
        )
    counters = [name for name in model.inputs if name in _COUNTERS]
    for name in counters:
        draft.put(("observations", name, "terms"), [{"term": "tick"}])
    taken = {*counters, *(into for into, _ in pairs)}
    outputs = [name for name in model.outputs if name not in {out for _, out in pairs}]
    return Tensors(
        observations={
            name: _width(tensor) for name, tensor in model.inputs.items() if name not in taken
        },
        action=_action(outputs),
    )


def single_input(model: OnnxModel, tensors: Tensors) -> tuple[str, int | None]:
    """Return the name and width of the only input that terms fill."""
    if len(tensors.observations) != 1:
        raise ToolError(
            f"{model.path}: expected one input besides recurrent states and time_step, "
            f"found {', '.join(tensors.observations) or 'none'}; this format describes "
            "one observation vector only"
        )
    return next(iter(tensors.observations.items()))


def _action(outputs: Sequence[str]) -> str | None:
    if len(outputs) == 1:
        return outputs[0]
    named = [name for name in outputs if name in _ACTION_OUTPUTS]
    return named[0] if len(named) == 1 else None


def _put_tensor(draft: Draft, model: OnnxModel, key: tuple[str, ...], tensor: ModelTensor) -> None:
    """Write a tensor's shape and type; a dynamic first axis becomes a batch size of 1."""
    if len(tensor.shape) == 2 and tensor.shape[0] > 1:
        raise ToolError(
            f"{model.path}: {key[-1]}: expected a batch of 1 (one row for one "
            f"robot), found {tensor}; export it with a batch of 1 or a dynamic batch"
        )
    shape = [1 if i == 0 and axis == DYNAMIC else axis for i, axis in enumerate(tensor.shape)]
    entry = {"shape": shape} | ({} if tensor.dtype == "float32" else {"dtype": tensor.dtype})
    draft.put(key, entry)
    if DYNAMIC in shape:
        draft.put((*key, "shape"), {"TODO": f"size of each axis; the model states {tensor}"})


def _width(tensor: ModelTensor) -> int | None:
    axes = tensor.shape[1:] if tensor.shape[:1] == (DYNAMIC,) else tensor.shape
    return None if DYNAMIC in axes else math.prod(axes)


def put_kept_statistics(draft: Draft) -> None:
    """Write the normalization that the model expects, and keep its statistics file."""
    model = draft.model
    if OBS_STATS not in model.metadata:
        return
    entry = Node(model.path.name, model.metadata[OBS_STATS], OBS_STATS).json()
    name, sha256 = entry["file"], entry["sha256"].text()
    if not name.text() or name.text() != Path(name.text()).name:
        raise name.wrong("the name of a file beside the model")
    file = model.path.with_name(name.text())
    content = file.read_bytes() if file.is_file() else None
    found = "no such file" if content is None else hashlib.sha256(content).hexdigest()
    if content is None or found != sha256:
        raise ToolError(
            f"{file}: expected the statistics that the model was exported with (sha256 "
            f"{sha256}), found {found}; keep both files together"
        )
    (observation,) = draft.find("observations")
    draft.put(
        ("observations", observation, "normalisation"),
        entry.mapping(),
        "kept beside the model by model_tools export",
    )
    draft.beside[name.text()] = content
