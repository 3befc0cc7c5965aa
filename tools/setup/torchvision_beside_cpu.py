# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Lets torchvision's build for CUDA be imported beside a PyTorch for CPUs; for `.venv-lerobot`.

Its operators do not load there, and its import fails where it describes two of them. LeRobot's ACT
takes no operator from it, just the ResNet. Indices that have builds for CPUs have both.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class _BeforeTorchvision(MetaPathFinder):
    """Finds nothing; prepares PyTorch when torchvision is looked for the first time."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            _declare_operators()


def _declare_operators() -> None:
    """Declare the operators whose absence breaks the import, where they do not load."""
    import torch

    found = importlib.util.find_spec("torchvision")
    try:
        torch.ops.load_library(str(Path(found.origin or "").parent / "_C.so") if found else "")
    except OSError:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", _SCHEMA)


sys.meta_path.insert(0, _BeforeTorchvision())
