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
