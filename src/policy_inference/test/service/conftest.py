# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A service for each test, its CA, and what is closed with the test."""

from collections.abc import Iterator
from contextlib import ExitStack
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


@pytest.fixture
def clients() -> Iterator[ExitStack]:
    """Sockets that are closed with the test."""
    with ExitStack() as stack:
        yield stack
