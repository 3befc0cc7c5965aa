# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A service for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .lockstep import Service, serving


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with serving(tmp_path) as opened:
        yield opened
