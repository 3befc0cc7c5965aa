# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from model_tools.importers.bundle_draft import make_draft
from policy_inference.errors import PolicyError

from .conftest import MakeRequest
from .small_runs import DEPLOY, DEPLOY_WIDTH


@pytest.mark.parametrize("key", [
    "observations", "observations.obs", "observations.obs.terms", "safety", "velocity_command",
])  # fmt: skip
def test_a_number_in_the_place_of_a_section_is_refused(request_for: MakeRequest, key: str) -> None:
    with pytest.raises(PolicyError, match=f"{key}: expected .*, found 3"):
        make_draft(request_for(DEPLOY, DEPLOY_WIDTH, joints="hip,knee", answers=[f"{key}=3"]))


def test_a_legged_robot_without_poses_to_pass_is_mentioned(request_for: MakeRequest) -> None:
    asked = request_for(DEPLOY, DEPLOY_WIDTH, joints="hip,knee")
    assert any("stand.via is not set" in remark for remark in make_draft(asked).remarks)
    via = "stand.via=[{position: 0.2, duration_s: 1}]"
    answered = request_for(DEPLOY, DEPLOY_WIDTH, joints="hip,knee", answers=[via])
    assert not any("stand.via" in remark for remark in make_draft(answered).remarks)
