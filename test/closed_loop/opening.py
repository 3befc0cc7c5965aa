# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What every policy here is opened with."""

from __future__ import annotations

from pathlib import Path

from policy_core.guard.limits import StricterLimits
from policy_inference.kinds.opening import OpenRequest


def opened_with_onnx(bundle: Path) -> OpenRequest:
    return OpenRequest(
        bundle=str(bundle),
        public_key="",
        backends=["onnx"],
        options={},
        stricter_limits=StricterLimits(),
        output="joint_command",
    )
