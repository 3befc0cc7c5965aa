# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Drivers and robots on the domain of the test; all ends with it."""
    stage = Stage(tmp_path)
    yield stage
    stage.close()
