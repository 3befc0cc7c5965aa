# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints from PyTorch training runs, read without running their code.

Only the modules of this package import torch.
"""

import importlib.util

from model_tools.errors import ToolError


def require_torch() -> None:
    """Raise unless PyTorch is installed."""
    if importlib.util.find_spec("torch") is None:
        raise ToolError(
            "torch: expected PyTorch (to read checkpoints), found no such package; run "
            "`pip install torch`; in a checkout, run `make setup-torch`, then "
            "`.venv-torch/bin/python -m model_tools` instead of `model_tools`"
        )
