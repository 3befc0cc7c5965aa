# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The kinds of things that can be inspected; a new one is two functions and a line here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from model_tools.errors import ToolError
from model_tools.files.file_types import refuse_stand_in
from model_tools.prove.inspect import (
    bundles,
    data_files,
    lerobot_files,
    models,
    plans,
    recordings,
)
from model_tools.prove.inspect.inspection import InspectionReport


class Inspector(NamedTuple):
    """A kind of file or folder.

    Attributes:
        kind: Its name.
        recognise: Returns whether a path is of this kind, without reading more than is needed to
            tell.
        inspect: Returns what is in it; raises PolicyError where it is broken in a way that leaves
            nothing to show.
    """

    kind: str
    recognise: Callable[[Path], bool]
    inspect: Callable[[Path], InspectionReport]


INSPECTORS = (
    Inspector(bundles.KIND, bundles.recognise, bundles.inspect),
    Inspector(bundles.SET_KIND, bundles.is_set, bundles.inspect_set),
    Inspector(recordings.KIND, recordings.recognise, recordings.inspect),
    Inspector(plans.KIND, plans.is_plan, plans.inspect_plan),
    Inspector(models.ONNX, models.is_onnx, models.inspect_onnx),
    Inspector(data_files.RUN_FILE, data_files.is_run_file, data_files.inspect_run_file),
    Inspector(models.CHECKPOINT, models.is_checkpoint, models.inspect_checkpoint),
    Inspector(models.TORCHSCRIPT, models.is_torchscript, models.inspect_torchscript),
    Inspector(models.RKNN, models.is_rknn, models.inspect_rknn),
    Inspector(models.ENGINE, models.is_engine, models.inspect_engine),
    Inspector(
        lerobot_files.LEROBOT_CHECKPOINT,
        lerobot_files.is_lerobot_checkpoint,
        lerobot_files.inspect_lerobot_checkpoint,
    ),
    Inspector(
        lerobot_files.LEROBOT_DATASET,
        lerobot_files.is_lerobot_dataset,
        lerobot_files.inspect_lerobot_dataset,
    ),
    Inspector(data_files.ARRAYS, data_files.is_arrays, data_files.inspect_arrays),
)


def inspect_path(path: Path) -> InspectionReport:
    """Return what is at `path`."""
    if not path.exists():
        raise ToolError(f"{path}: expected a file or folder, found nothing")
    refuse_stand_in(path)
    for inspector in INSPECTORS:
        if inspector.recognise(path):
            return inspector.inspect(path)
    kinds = ", ".join(inspector.kind for inspector in INSPECTORS)
    raise ToolError(f"{path}: expected one of {kinds}, found something else")
