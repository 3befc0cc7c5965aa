# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bundles of real checkpoints against what LeRobot answered, within the stated tolerances."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest

from model_tools.make.act.golden_rows import ReferenceGraphs, action_normaliser
from policy_core.bundle.chunk_contract import ChunkContract
from policy_core.interfaces import Tensor

from .exports import exported

pytestmark = [pytest.mark.real_data, pytest.mark.slow]
NORMALISED, JOINT_UNITS = 1e-5, 3e-4
CAMERAS = {
    "so100_new": ("laptop", "phone"),
    "so100_old": ("laptop", "phone"),
    "dual_arm": ("top", "left_wrist", "right_wrist"),
}


@pytest.fixture(scope="session")
def act_inputs(shared_data: Path) -> ModuleType:
    return _module(shared_data / "act" / "inputs.py")


@pytest.fixture(scope="session")
def checkpoints(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with all three checkpoints, whole."""
    folder, maker = tmp_path_factory.mktemp("act"), _module(shared_data / "act" / "make_old.py")
    for name, make in (("so100_old", maker.old_format), ("dual_arm", maker.dual_arm)):
        (folder / name).mkdir()
        for file in (shared_data / "act" / name).iterdir():
            (folder / name / file.name).write_bytes(file.read_bytes())
        make(shared_data / "act" / "so100_new", folder / name)
    (folder / "so100_new").symlink_to(shared_data / "act" / "so100_new")
    return folder


def _module(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"act_data_{file.stem}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def opened(
    checkpoints: Path, name: str, output: Path, opset: int = 19
) -> tuple[ChunkContract, ReferenceGraphs]:
    bundle = exported(checkpoints / name, output=output, robot="so100", name="real", opset=opset)
    models = {
        graph: onnx.load(str(output / entry.artifacts["onnx"].file))
        for graph, entry in bundle.contract.graphs.items()
    }
    return bundle.contract, ReferenceGraphs(bundle.contract, models)


def act_rows(act_inputs: ModuleType, name: str, seed: int, size: int) -> dict[str, Tensor]:
    images = {
        f"cameras.{camera}": act_inputs.image(k, seed)[np.newaxis]
        for k, camera in enumerate(CAMERAS[name])
    }
    return {**images, "state": act_inputs.state(size, seed)[np.newaxis]}


@pytest.mark.parametrize(
    ("name", "opset"), [("so100_new", 11), ("so100_new", 19), ("so100_old", 19)]
)
def test_a_bundle_answers_as_lerobot_on_raw_images(
    shared_data: Path,
    act_inputs: ModuleType,
    checkpoints: Path,
    tmp_path: Path,
    name: str,
    opset: int,
) -> None:
    golden = np.load(shared_data / "act" / "golden.npz")
    contract, reference = opened(checkpoints, name, tmp_path / "b", opset)
    for seed in range(3):
        found = reference.normalised(act_rows(act_inputs, name, seed, 6))
        np.testing.assert_allclose(found, golden[f"s{seed}_chunk_norm"], rtol=0.0, atol=NORMALISED)
        np.testing.assert_allclose(
            action_normaliser(contract).undo(found),
            golden[f"s{seed}_chunk"],
            rtol=0.0,
            atol=JOINT_UNITS,
        )


def test_two_arms_and_three_cameras_answer_as_lerobot(
    shared_data: Path, act_inputs: ModuleType, checkpoints: Path, tmp_path: Path
) -> None:
    golden = np.load(shared_data / "act" / "golden.npz")
    contract, reference = opened(checkpoints, "dual_arm", tmp_path / "b")
    found = reference.normalised(act_rows(act_inputs, "dual_arm", 0, 12))
    np.testing.assert_allclose(found, golden["dual_chunk_norm"], rtol=0.0, atol=NORMALISED)
    np.testing.assert_allclose(
        action_normaliser(contract).undo(found), golden["dual_chunk"], rtol=0.0, atol=JOINT_UNITS
    )
    assert contract.joints.names[0] == "left_shoulder_pan"
    assert tuple(contract.cameras) == CAMERAS["dual_arm"]
