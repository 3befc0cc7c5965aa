# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from robot_driver.testing.case import DriverCase
from robot_driver.testing.stage import Stage


@pytest.fixture
def stage_of(tmp_path: Path) -> Iterator[Callable[[DriverCase], Stage]]:
    """Return what starts drivers of a case; all ends with the test."""
    with ExitStack() as stages:

        def make(case: DriverCase) -> Stage:
            stage = Stage(case, tmp_path)
            stages.callback(stage.close)
            return stage

        yield make
