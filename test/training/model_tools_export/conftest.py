# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the tests of the export share."""

from pathlib import Path

import pytest
import torch

from .exporting import Exporter


@pytest.fixture
def export(tmp_path: Path) -> Exporter:
    """Return the command, working in a folder of its own."""
    torch.manual_seed(0)
    return Exporter(tmp_path)
