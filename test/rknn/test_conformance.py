# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The conformance suite over `rknn_sim`, for real: the simulator builds each model in fp16."""

import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from policy_inference.backends.child import ChildBackend
from policy_inference.backends.rknn_sim import RknnSimBackend
from policy_inference.backends.rknn_toolkit.prepare import prepare
from policy_inference.backends.rknn_toolkit.python import VARIABLE
from policy_inference.backends.rknn_toolkit.recipe import MODEL, Recipe, pack, write_recipe
from policy_inference.testing.case import ACTIONS, OBS, BackendCase, ConformanceFixtures
from policy_inference.testing.conformance import BackendConformance, ChildConformance


def _quantised(onnx: Path) -> Path:
    """Write what `model_tools compile rknn` writes for the simulator, beside an ONNX model."""
    recipe = Recipe(target="rk3588", precision="w8a8", inputs=(OBS,), outputs=(ACTIONS,))
    samples = np.random.default_rng(0).uniform(-2.0, 2.0, (64, 5)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        prepare(onnx, Path(folder, MODEL), {OBS.name: OBS.shape, ACTIONS.name: ACTIONS.shape})
        write_recipe(recipe, Path(folder), {OBS.name: samples})
        pack(Path(folder), onnx.with_suffix(".zip"))
    return onnx.with_suffix(".zip")


class TestConformance(BackendConformance, ChildConformance):
    @pytest.fixture
    def case(self) -> BackendCase:
        return BackendCase(
            name="rknn_sim",
            backend=partial(ChildBackend, RknnSimBackend),
            package="rknn",
            tolerance=0.03,
            reads_tensors=True,
            # A Python without the toolkit: our own.
            without_package=lambda monkeypatch: monkeypatch.setenv(VARIABLE, sys.executable),
            package_remedy="make setup-rknn",
        )


class TestQuantised(ConformanceFixtures):
    """What integers make different."""

    @pytest.fixture
    def case(self) -> BackendCase:
        return BackendCase(
            name="rknn_sim",
            backend=partial(ChildBackend, RknnSimBackend),
            package="rknn",
            compile=_quantised,
            precision="w8a8",
            other_precision="w16a16i_dfp",
            tolerance=0.1,
        )

    test_not_finite = (
        BackendConformance.test_input_that_is_not_finite_is_not_hidden_and_the_next_run_is_right
    )
    test_precision = BackendConformance.test_file_in_another_precision_than_the_contracts_rejected
    test_cut_off = BackendConformance.test_file_that_was_cut_off_rejected
