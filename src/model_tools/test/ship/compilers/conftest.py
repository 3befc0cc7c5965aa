# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What tests of all compilers calibrate with."""

from pathlib import Path

import numpy as np
import pytest

from ...files.lerobot.small_dataset import write_dataset
from ...tiny_bundle import observations

SIZES = {"laptop": (48, 64), "phone": (48, 64)}
"""Cameras of the chunk policies, as the dataset has them."""


@pytest.fixture
def tiny_rows(tmp_path: Path) -> Path:
    """File of rows for the small bundle."""
    file = tmp_path / "rollout.npz"
    np.savez(file, obs=observations())
    return file


@pytest.fixture
def arm_dataset(tmp_path: Path) -> Path:
    """36 observations of a chunk policy's robot."""
    return write_dataset(tmp_path / "dataset")
