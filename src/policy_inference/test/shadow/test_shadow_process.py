# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What is said of a shadow's process by the node that asks it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.guard.limits import StricterLimits
from policy_core.interfaces import ShadowMode
from policy_core.observation.state import RobotState
from policy_inference.kinds.opening import OpenRequest
from policy_inference.shadow.shadow_process import ShadowProcess
from policy_inference.shadow.shadowed_member import ShadowQuestion
from policy_inference.testing.process import children
from testkit.wording import check_wording

from ..nodes.bundles import write_version


@pytest.fixture
def golden_bundle(tmp_path: Path) -> JointBundle:
    return load_bundle(write_version(tmp_path / "two_joints", "1.2.3"), kind=JointBundle)


@pytest.fixture
def hanging_shadow(golden_bundle: JointBundle) -> Iterator[ShadowProcess]:
    before, state = children(), RobotState(golden_bundle.contract)
    request = OpenRequest(
        bundle=str(golden_bundle.path),
        public_key="",
        backends=["onnx"],
        options={},
        stricter_limits=StricterLimits(),
        output="joint_command",
    )
    process = ShadowProcess(request, golden_bundle, state, ShadowMode.FOLLOWED)
    (pid,) = children() - before
    os.kill(pid, signal.SIGSTOP)
    process.start()
    yield process
    process.close()


def test_shadow_hangs_since_it_was_asked_and_not_since_the_robot_rests(
    hanging_shadow: ShadowProcess, golden_bundle: JointBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, begun_s, ahead_s = RobotState(golden_bundle.contract), time.monotonic(), 0.0
    monkeypatch.setattr(time, "monotonic", lambda: begun_s + ahead_s)
    ahead_s = 100.0  # in READY
    assert not hanging_shadow.problem()
    hanging_shadow.give(0, ShadowQuestion(state.flat, np.zeros(2), True))
    assert not hanging_shadow.problem()
    ahead_s += 3.0
    check_wording(hanging_shadow.problem())
