# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of PyTorch trainings: what they hold, without running what is in them.

The only place of this package that imports torch, and only in its modules.
"""

import importlib.util

from model_tools.errors import ToolError


def require_torch() -> None:
    """Check that what reads checkpoints is there."""
    if importlib.util.find_spec("torch") is None:
        raise ToolError(
            "torch: expected PyTorch, which reads checkpoints, found none; pip install "
            "torch, or in a checkout: make setup-torch, and .venv-torch/bin/python -m "
            "model_tools instead of model_tools"
        )
