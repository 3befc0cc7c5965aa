# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A service for each test, and its CA."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .certificates import Certificate, make_certificate
from .lockstep import Service, serving


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with serving(tmp_path) as opened:
        yield opened


@pytest.fixture
def ca(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path, "ca")
