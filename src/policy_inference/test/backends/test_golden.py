# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Real policies give the outputs that were recorded with them."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import load_bundle
from policy_core.interfaces import Backend, TensorSpec
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.backends.registry import open_backend

TOLERANCE = 1e-5
BUNDLES = Path(__file__).resolve().parents[2] / "config" / "bundles"

Rows = Mapping[str, npt.NDArray[Any]]


def test_own_bundle_gives_its_golden_outputs() -> None:
    bundle = load_bundle(BUNDLES / "lite3_walk", kind=JointBundle)
    with closing(open_backend(bundle, ["onnx"])[0]) as backend:
        golden = bundle.golden()
        _assert_golden(backend, {"obs": golden["obs"], "actions": golden["action"]}, rows=256)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("folder", "size", "joints", "rows", "actions"),
    [
        ("lite3", 45, 12, 256, [-9.674651, 7.3848023, -18.732538, 12.396891]),
        ("go2_isaaclab", 45, 12, 256, [-1.6358972, 8.003758, 1.0486413, 3.2645411]),
        ("isaaclab_env_yaml", 160, 29, 64, [-4.6153626, -21.645485, 7.1678057, -0.5465367]),
    ],
    ids=["Lite3", "Unitree Go2", "Unitree G1"],
)
def test_published_policy_gives_its_golden_outputs(
    shared_data: Path, folder: str, size: int, joints: int, rows: int, actions: list[float]
) -> None:
    recorded = shared_data / "legged" / folder
    inputs = [TensorSpec(name="obs", shape=(1, size))]
    outputs = [TensorSpec(name="actions", shape=(1, joints))]
    with closing(OnnxBackend(recorded / "policy.onnx", inputs, outputs)) as backend:
        _assert_golden(backend, _load(recorded), rows)
        _assert_first_actions(backend, actions)


def _load(folder: Path) -> Rows:
    with np.load(folder / "golden.npz") as arrays:
        return {name: arrays[name] for name in ("obs", "actions")}


def _assert_golden(backend: Backend, golden: Rows, rows: int) -> None:
    assert len(golden["obs"]) == rows
    for obs, actions in zip(golden["obs"], golden["actions"], strict=True):
        backend.inputs["obs"][:] = obs
        backend.run()
        (found,) = next(iter(backend.outputs.values()))
        np.testing.assert_allclose(found, actions, rtol=0.0, atol=TOLERANCE)


def _assert_first_actions(backend: Backend, actions: list[float]) -> None:
    """Compare with the figures that were published in text, for the input 0, 0.1, 0.2, ..."""
    obs = backend.inputs["obs"]
    obs[:] = np.float32(0.1) * np.arange(obs.size, dtype=np.float32)
    backend.run()
    found: npt.NDArray[Any] = backend.outputs["actions"][0, : len(actions)]
    np.testing.assert_allclose(found, actions, rtol=0.0, atol=TOLERANCE)
