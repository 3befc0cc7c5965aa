# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from model_tools.errors import ToolError
from model_tools.importers.bundle_draft import make_draft

from .conftest import MakeRequest
from .small_models import save_policy
from .small_runs import DEPLOY, DEPLOY_WIDTH


def test_a_model_whose_weights_are_not_finite_is_not_imported(
    request_for: MakeRequest, tmp_path: Path
) -> None:
    model = save_policy(tmp_path / "diverged.onnx", DEPLOY_WIDTH, 2, weight=float("nan"))
    with pytest.raises(ToolError, match=r"diverged\.onnx: w: expected finite weights, found NaN"):
        make_draft(request_for(DEPLOY, 0, model=model, joints="hip,knee"))
