# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Registry of what can be inspected; to add a kind, write a function and add a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from model_tools.errors import ToolError
from model_tools.files.bags.bag import is_bag
from model_tools.files.file_types import PLAN_SUFFIX, find_suffix, refuse_stand_in
from model_tools.prove.inspect import bundles, models, plans, recordings
from model_tools.prove.inspect.inspection import InspectionReport
from policy_core.bundle.bundle import CONTRACT_FILE, SET_FILE

Inspector = Callable[[Path], InspectionReport]
"""Returns the report on a path; raises PolicyError if the file is too damaged to show anything."""
_FOLDERS: Mapping[str, Inspector] = {
    CONTRACT_FILE: bundles.inspect,
    SET_FILE: bundles.inspect_set,
}
"""Inspectors of folders, by a file that identifies the folder."""
_FILES: Mapping[str, Inspector] = {
    PLAN_SUFFIX: plans.inspect_plan,
    ".onnx": models.inspect_onnx,
    **dict.fromkeys((".pt", ".pth", ".ckpt"), models.inspect_checkpoint),
    ".rknn": models.inspect_rknn,
}
"""Inspectors of files, by the suffix that fits the content."""


def inspect_path(path: Path) -> InspectionReport:
    if not path.exists():
        raise ToolError(f"{path}: expected a file or folder, found nothing")
    refuse_stand_in(path)
    if is_bag(path):
        return recordings.inspect(path)
    found = _FILES.get(find_suffix(path))
    if path.is_dir():
        found = next((one for file, one in _FOLDERS.items() if (path / file).is_file()), None)
    if found is None:
        raise ToolError(
            f"{path}: expected a folder with {' or '.join(_FOLDERS)}, a rosbag2 recording, or a "
            f"file of the type {', '.join(_FILES)}, found another kind of file or folder"
        )
    return found(path)
