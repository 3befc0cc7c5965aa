# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What tests of all compilers calibrate with."""

from pathlib import Path

import numpy as np
import pytest

from ...tiny_bundle import observations


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """File of rows for the small bundle."""
    file = tmp_path / "rollout.npz"
    np.savez(file, obs=observations())
    return file
