# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Lets LeRobot be imported beside a PyTorch for CPUs; import this module first.

torchvision from PyPI is built for CUDA. Beside a PyTorch for CPUs its operators do not load, and
its import fails where it describes two of them. ACT needs torchvision for its ResNet alone.
"""

import importlib.util
from pathlib import Path

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def declare_operators() -> None:
    """Declare the operators whose absence breaks the import, where they do not load."""
    found = importlib.util.find_spec("torchvision")
    folder = Path(found.origin or "").parent if found else Path()
    try:
        torch.ops.load_library(str(folder / "_C.so"))
    except OSError:
        for name in ("nms", "qnms"):
            torch.library.define(f"torchvision::{name}", _SCHEMA)


declare_operators()
