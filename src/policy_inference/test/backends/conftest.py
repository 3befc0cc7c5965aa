# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A small model for the back ends of every vendor."""

from pathlib import Path

import pytest

from policy_inference.testing.models import save_linear


@pytest.fixture
def linear(tmp_path: Path) -> Path:
    """ONNX file of actions[1, 3] = obs[1, 5] @ weights."""
    return save_linear(tmp_path / "linear.onnx", 5, 3)
