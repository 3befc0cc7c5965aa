# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Makes torchvision importable with a PyTorch that it was not built for; for `.venv-lerobot`.

Its operators do not load in that case, and its import fails when it describes two of them.
LeRobot's ACT uses no operator from it, only the ResNet; LeRobot's datasets use its video reader,
which is Python.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class _BeforeTorchvision(MetaPathFinder):
    """Finds nothing; prepares PyTorch when torchvision is first looked up."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            _declare_operators()


def _declare_operators() -> None:
    """Declare the operators whose absence breaks the import, if they do not load."""
    import torch

    found = importlib.util.find_spec("torchvision")
    try:
        torch.ops.load_library(str(Path(found.origin or "").parent / "_C.so") if found else "")
    except OSError:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", _SCHEMA)


for said in ("Failed to load image Python extension", "The video decoding and encoding capab"):
    warnings.filterwarnings("ignore", said, UserWarning)  # a known problem, reported at each start
sys.meta_path.insert(0, _BeforeTorchvision())
