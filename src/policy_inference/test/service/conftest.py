# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A service for each test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from policy_inference.service.opening import ServeRequest, open_served
from policy_inference.service.serving import ServedModel

from .lockstep import Service, serving


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with serving(tmp_path) as opened:
        yield opened


@pytest.fixture
def open_request() -> Iterator[Callable[..., ServedModel]]:
    """Open what a request names; it is closed at the end."""
    with ExitStack() as opened:
        yield lambda **request: opened.enter_context(closing(open_served(ServeRequest(**request))))
