# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A seed of tools.chaos in real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.chaos.real import run_for_real


@pytest.mark.acceptance
@pytest.mark.real_time
@pytest.mark.ros
def test_seed_holds_over_dds(tmp_path: Path) -> None:
    said = list[str]()
    assert run_for_real(21, 60.0, tmp_path / "seed", said.append), said
