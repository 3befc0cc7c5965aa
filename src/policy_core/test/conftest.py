# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A robot that walks already, and the core that it runs on."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import pytest

from testkit.kernel import cores
from testkit.kernel.robots import Robot


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run tests that are marked `both_cores` in Python and in C++."""
    if metafunc.definition.get_closest_marker("both_cores"):
        metafunc.parametrize("core", ["python", "native"], indirect=True)


@pytest.fixture(autouse=True)
def core(request: pytest.FixtureRequest) -> Iterator[None]:
    """The core that ticks."""
    is_native = getattr(request, "param", "python") == "native"
    if is_native and importlib.util.find_spec("policy_core_native") is None:
        pytest.skip("the native core is not built")
    cores.use_native(is_native)
    yield
    cores.use_native(False)


@pytest.fixture
def strider() -> Robot:
    """A robot in RUN, blended in, with a target that differs from standing."""
    robot = Robot()
    robot.answer(0.2, 0.2, 0.2)
    return robot.run(20)


@pytest.fixture
def idle() -> Robot:
    """A robot in DAMP that nothing was asked of."""
    return Robot()
