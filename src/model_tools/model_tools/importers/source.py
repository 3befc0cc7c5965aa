# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What an importer is given: the parsed source file, and the user's model and joints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model_tools.checkpoints.archive import refuse_checkpoint
from model_tools.errors import ToolError
from model_tools.foreign_yaml import load_foreign_yaml
from model_tools.importers.joints import GivenJoints
from model_tools.node import Node
from model_tools.onnx_model import OnnxModel, read_onnx

ONNX_SUFFIX = ".onnx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A source file: YAML as `root`, or the metadata of an ONNX model."""

    path: Path
    root: Node
    is_onnx: bool

    def has(self, *keys: str) -> bool:
        """Return whether the file is a mapping with all these keys."""
        return isinstance(self.root.value, dict) and all(key in self.root.value for key in keys)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What the user gave besides the source."""

    model: Path | None = None
    joints: GivenJoints | None = None

    def refuse_joints(self, source: Source, stated: str) -> None:
        """Raise unless `--joints` was left out, for a source that names its joints.

        Raises:
            ToolError: It was given; `stated` is the key that has the names.
        """
        if self.joints is not None:
            raise ToolError(f"--joints: expected none, since {stated} of {source.path.name} names "
                            f"the policy's joints in their order, found "
                            f"{self.joints.origin or ', '.join(self.joints.names)}; --robot FILE "
                            "takes limits from a URDF or MJCF, and --set joints.robot_names says "
                            "what the robot calls its joints, where that differs")


def read_source(path: Path) -> Source:
    """Read a source file.

    Raises:
        ToolError: It is neither YAML nor ONNX, or is cut off.
        OSError: It cannot be read.
    """
    if path.is_dir():
        raise ToolError(f"{path}: expected a file, found a folder; name the file in it")
    if path.suffix == ONNX_SUFFIX:
        metadata = read_onnx(path).metadata
        return Source(path=path, root=Node(path.name, dict(metadata)), is_onnx=True)
    refuse_checkpoint(path)
    return Source(path=path, root=Node(path.name, load_foreign_yaml(path)), is_onnx=False)


def model_of(source: Source, given: Given) -> OnnxModel:
    """Return the model that the user named.

    Raises:
        ToolError: None was named, or it is no model.
    """
    if given.model is None:
        raise ToolError(f"{source.path.name}: expected the model too, since names and shapes of "
                        "tensors are read from it, found none; give --model policy.onnx")
    return read_onnx(given.model)
