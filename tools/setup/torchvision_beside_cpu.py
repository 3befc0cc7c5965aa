# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Makes torchvision importable with a PyTorch for which it was not built; for `.venv-lerobot`.

In that case, torchvision's operators do not load, and importing torchvision fails because its code
refers to two of them. LeRobot's ACT uses none of these operators, only the ResNet; LeRobot's
datasets use torchvision's video reader, which is written in Python.
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
    """An import hook that finds no modules itself.

    On the first import of torchvision, it declares the operators that PyTorch lacks.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            _declare_operators()


def _declare_operators() -> None:
    """If torchvision's operators do not load, declare those whose absence breaks the import."""
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
