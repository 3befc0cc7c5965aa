# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint of LeRobot's, and the observations to which LeRobot's own answers are known."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from model_tools.make.act.act_contract import ActRequest
from model_tools.make.act.act_export import export_checkpoint
from model_tools.make.act.checkpoint import read_checkpoint
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle


@pytest.fixture(scope="package")
def formulae(shared_data: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("act_inputs", shared_data / "act" / "inputs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="package")
def so100_act(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> ChunkBundle:
    folder = tmp_path_factory.mktemp("act") / "so100"
    export_checkpoint(
        ActRequest(
            checkpoint=read_checkpoint(shared_data / "act" / "so100_new"),
            output=folder,
            robot="so100",
            units="degrees",
            rate_hz=30.0,
            name="so100",
        )
    )
    # Tests show the images to which LeRobot's answers are known again and again.
    contract = folder / "policy.yaml"
    text = contract.read_text("utf-8")
    assert "camera_frozen_s: 0.5" in text
    contract.write_text(text.replace("    camera_frozen_s: 0.5\n", ""), "utf-8")
    return load_bundle(folder, kind=ChunkBundle)
