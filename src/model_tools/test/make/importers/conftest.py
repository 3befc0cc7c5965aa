# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A folder of a training run, and the request to import what lies in it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_tools.make.importers.import_bundle import ImportRequest

from .small_models import save_policy

ANSWERS = (
    "name=two_joints",
    "version='1.0.0'",
    "joints.position_min=-3",
    "joints.position_max=3",
    "joints.velocity_limit=20",
    "joints.effort_limit=30",
    "joints.stiffness=25",
    "joints.damping=0.5",
    "stand.position=@joints.default_position",
    "stand.stiffness=50",
    "stand.damping=1",
    "stand.duration_s=1.5",
    "damp.damping=3",
    "safety.on_fault=damp",
    "safety.max_tilt_rad=1.0",
    "provenance.source=a test",
    "provenance.licence=MIT",
)
"""What no format says, or not each of them."""

MakeRequest = Callable[..., ImportRequest]


@pytest.fixture
def request_for(tmp_path: Path) -> MakeRequest:
    """Write a source, changed by `edit`, beside a model of this width, and ask to import it."""

    def make(
        source: dict[str, Any] | str,
        width: int,
        *,
        edit: Callable[[Any], object] | None = None,
        model: Path | None = None,
        **options: Any,
    ) -> ImportRequest:
        file = tmp_path / "source.yaml"
        if isinstance(source, dict):
            source = copy.deepcopy(source)
            if edit:
                edit(source)
            source = yaml.safe_dump(source, sort_keys=False)
        file.write_text(source, encoding="utf-8")
        model = model or save_policy(tmp_path / "policy.onnx", width, 2)
        return ImportRequest(source=file, model=model, **options)

    return make
