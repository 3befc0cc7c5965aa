# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The conformance suite over every back end of this package."""

from dataclasses import replace
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path

import onnxruntime
import pytest

from policy_inference.backends.bpu.pyeasy import PyeasyBackend
from policy_inference.backends.child import ChildBackend
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.backends.registry import GROUP
from policy_inference.backends.rknn.backend import RknnBackend
from policy_inference.testing.case import BackendCase, ConformanceFixtures
from policy_inference.testing.conformance import BackendConformance, ChildConformance
from policy_inference.testing.failing import FailingConformance
from policy_inference.testing.models import save_quantised
from policy_inference.testing.running import RunningConformance

from . import rknnlite_double
from .bpu.cases import BPU, PYEASY
from .nvidia import cases as nvidia
from .remote.cases import OIP


def _fail_in_runtime(*_: object, **__: object) -> None:
    raise RuntimeError("a fault of the runtime")


ONNX = BackendCase(
    name="onnx",
    backend=OnnxBackend,
    package="onnxruntime",
    reads_tensors=True,
    dtypes=("float32", "float16", "int64", "int32"),
    failing_runs={
        "exception": lambda monkeypatch: monkeypatch.setattr(
            onnxruntime.InferenceSession, "run_with_iobinding", _fail_in_runtime
        )
    },
)
BOARD, LITE = rknnlite_double.Board, rknnlite_double.RKNNLite
RKNN = BackendCase(
    name="rknn",
    backend=RknnBackend,
    package="rknnlite.api",
    reads_tensors=True,
    prepare=lambda monkeypatch: rknnlite_double.install_rknnlite(monkeypatch=monkeypatch),
    compile=partial(rknnlite_double.save_rknn, precision="w8a8"),
    dynamic_batch=False,
    precision="w8a8",
    other_precision="fp16",
    target="rk3588",
    other_target="rk3568",
    without_device={
        "no access to the NPU.*; check": lambda monkeypatch: monkeypatch.setattr(
            BOARD, "logged", "failed to open rknpu module, need to insmod rknpu dirver!"
        )
    },
    failing_runs={
        "None": lambda monkeypatch: monkeypatch.setattr(BOARD, "lost", "RKNN_ERR_TIMEOUT"),
        "exception": lambda monkeypatch: monkeypatch.setattr(LITE, "inference", _fail_in_runtime),
    },
    failing_close=lambda monkeypatch: monkeypatch.setattr(LITE, "release", _fail_in_runtime),
)
CASES = {"onnx": ONNX, "bpu": BPU, "rknn": RKNN, "tensorrt": nvidia.TENSORRT, "oip": OIP}
VARIANTS = {"bpu with pyeasy_dnn": PYEASY, **nvidia.MORE}
# Where the tests of a back end are that needs more than `make setup` brings, or has tensors of its
# own.
ELSEWHERE = {
    "rknn_sim": "test/rknn/test_conformance.py",
    "openpi": "src/policy_inference/test/backends/remote/test_openpi.py",
}
ROOT = Path(__file__).resolve().parents[4]


def test_every_backend_of_the_package_has_a_case() -> None:
    ours = {
        entry.name
        for entry in entry_points(group=GROUP)
        if entry.value.startswith("policy_inference.")
    }
    assert ours == CASES.keys() | ELSEWHERE.keys()
    for name, file in ELSEWHERE.items():
        assert f'name="{name}"' in (ROOT / file).read_text("utf-8")


class TestConformance(BackendConformance):
    @pytest.fixture(params=CASES)
    def case(self, request: pytest.FixtureRequest) -> BackendCase:
        return CASES[request.param]


class TestVariants(RunningConformance, FailingConformance):
    """Other versions of a runtime differ in calls; files and opening are the back end's own."""

    @pytest.fixture(params=VARIANTS)
    def case(self, request: pytest.FixtureRequest) -> BackendCase:
        return VARIANTS[request.param]


class TestInChild(ChildConformance):
    @pytest.fixture
    def case(self) -> BackendCase:
        return replace(PYEASY, backend=partial(ChildBackend, PyeasyBackend))


class TestQuantised(ConformanceFixtures):
    """What integers make different, where the model itself has them."""

    @pytest.fixture(params=["onnx", "tensorrt"])
    def case(self, request: pytest.FixtureRequest) -> BackendCase:
        return replace(CASES[request.param], precision="int8")

    @pytest.fixture
    def linear(self, tmp_path: Path) -> Path:
        return save_quantised(tmp_path / "quantised.onnx", 5, 3)

    test_not_finite = (
        BackendConformance.test_input_that_is_not_finite_is_not_hidden_and_the_next_run_is_right
    )
