# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Quantised, padded and turned tensors of the BPU are the contract's arrays to the last step."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from policy_core.errors import BackendError
from policy_core.interfaces import TensorSpec
from policy_inference.backends.base import BackendBase
from policy_inference.backends.bpu.hbm import BpuBackend
from policy_inference.backends.bpu.pyeasy import PyeasyBackend
from policy_inference.testing.case import reference
from policy_inference.testing.models import save
from testkit.wording import refusal

from .cases import compiled_for_bpu

Open = Callable[..., BackendBase]
IMAGE = TensorSpec(name="image", shape=(1, 3, 4, 6))
RUNTIMES = (BpuBackend, ".hbm"), (PyeasyBackend, ".bin")


@pytest.fixture
def image_model(tmp_path: Path) -> Path:
    """Model of flat[1, 72] = image[1, 3, 4, 6] in its order, and of the image itself."""
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("Identity", ["image"], ["same"]),
    ]
    return save(
        tmp_path / "image.onnx",
        nodes,
        {"image": IMAGE.shape},
        {"flat": (1, 72), "same": IMAGE.shape},
    )


def ran(backend: BackendBase, **inputs: Any) -> dict[str, Any]:
    for name, array in inputs.items():
        backend.inputs[name][:] = array
    backend.run()
    return {name: array.copy() for name, array in backend.outputs.items()}


CHANNELS = {
    "obs": {"dtype": "int8", "scale": [0.01, 0.02, 0.04, 0.08, 0.16], "axis": 1},
    "actions": {"dtype": "int32", "scale": [1e-4, 2e-4, 4e-4], "axis": 1},
}
ZERO_POINTS = {
    "obs": {"dtype": "uint8", "scale": [0.02], "zero_point": [100]},
    "actions": {"dtype": "int16", "scale": [0.001], "zero_point": [-500]},
}
HALF = {"obs": {"dtype": "float16"}, "actions": {"dtype": "float16"}}
PADDED = {"actions": {"memory": [1, 4, 1, 16]}}
COUNT, SMALL, DOUBLING = [0, 1, 2, 3, 4], [-2, -1, 0, 1, 2], [1, 2, 4, 8, 16]
HBM, PYEASY = RUNTIMES


@pytest.mark.parametrize(
    ("runtime", "special", "obs", "atol"),
    [
        pytest.param(HBM, {}, COUNT, 0, id="four axes"),
        pytest.param(PYEASY, {}, COUNT, 0, id="four axes, pyeasy"),
        pytest.param(HBM, CHANNELS, DOUBLING, 3e-4, id="scale of each channel"),
        pytest.param(PYEASY, CHANNELS, DOUBLING, 3e-4, id="scale of each channel, pyeasy"),
        pytest.param(HBM, ZERO_POINTS, SMALL, 1e-3, id="zero points"),
        pytest.param(HBM, HALF, [0.1, 0.2, 0.3, 0.4, 0.5], 1e-3, id="float16"),
        pytest.param(HBM, PADDED, COUNT, 0, id="padding"),
        pytest.param(
            PYEASY, {"obs": {"memory": [1, 8, 1, 16]}, **PADDED}, COUNT, 0, id="padding, pyeasy"
        ),
        pytest.param(
            PYEASY,
            {"obs": {"shape": [1, 1, 1, 5], "layout": "NHWC"}},
            COUNT,
            0,
            id="vector in the last axis",
        ),
    ],
)
def test_tensors_of_the_runtime_are_the_vectors_of_the_contract(
    open_file: Open,
    linear: Path,
    runtime: tuple[type[BackendBase], str],
    special: dict[str, dict[str, Any]],
    obs: list[float],
    atol: float,
) -> None:
    cls, suffix = runtime
    backend = open_file(compiled_for_bpu(linear, suffix, tensors=special), cls=cls)
    found = ran(backend, obs=obs)["actions"]
    expected = reference(linear, {"obs": np.array([obs], np.float32)})["actions"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


@pytest.mark.parametrize(("cls", "suffix"), RUNTIMES)
@pytest.mark.parametrize(("dtype", "steps"), [("int8", 127), ("int16", 32767)])
def test_quantised_tensors_are_real_numbers_to_the_step(
    open_file: Open, linear: Path, cls: type[BackendBase], suffix: str, dtype: str, steps: int
) -> None:
    scales = {"obs": 4.0 / steps, "actions": 8.0 / steps}
    special = {name: {"dtype": dtype, "scale": [scale]} for name, scale in scales.items()}
    backend = open_file(compiled_for_bpu(linear, suffix, tensors=special), cls=cls)
    obs = np.array([[-4.0, 0.3, 1.0, 2.5, 3.9]], np.float32)
    steps_of_obs = np.rint(obs / np.float32(scales["obs"])) * scales["obs"]
    expected = reference(linear, {"obs": steps_of_obs.astype(np.float32)})["actions"]
    found = ran(backend, obs=obs)["actions"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=scales["actions"] / 2 * 1.001)
    assert np.abs(found / scales["actions"] - np.rint(found / scales["actions"])).max() < 1e-2


def test_values_beyond_the_range_saturate_and_do_not_wrap(open_file: Open, linear: Path) -> None:
    special = {"obs": {"dtype": "int8", "scale": [0.01]}}
    backend = open_file(compiled_for_bpu(linear, tensors=special))
    found = ran(backend, obs=1e9)["actions"]
    expected = reference(linear, {"obs": np.full((1, 5), 1.27, np.float32)})["actions"]
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_scales_that_do_not_fit_their_axis_are_refused(open_file: Open, linear: Path) -> None:
    special = {"obs": {"dtype": "int8", "scale": [0.1, 0.2], "axis": 1}}
    with refusal(BackendError):
        open_file(compiled_for_bpu(linear, tensors=special))


def test_release_that_casts_inputs_to_bytes_is_refused(
    open_file: Open, linear: Path, bpu_board: Callable[..., None]
) -> None:
    """It takes any array, and says nothing."""
    bpu_board(old=True)
    with refusal(BackendError):
        open_file(compiled_for_bpu(linear, ".bin"), cls=PyeasyBackend, target="bayes-e")


@pytest.mark.parametrize(("cls", "suffix"), RUNTIMES)
def test_channels_last_are_turned(
    open_file: Open, image_model: Path, cls: type[BackendBase], suffix: str
) -> None:
    turned = {"shape": [1, 4, 6, 3], "layout": "NHWC"}
    file = compiled_for_bpu(image_model, suffix, tensors={"image": turned, "same": turned})
    outputs = [TensorSpec(name="flat", shape=(1, 72)), TensorSpec(name="same", shape=IMAGE.shape)]
    backend = open_file(file, cls=cls, inputs=[IMAGE], outputs=outputs)
    pixels = np.arange(72, dtype=np.float32).reshape(IMAGE.shape)
    found = ran(backend, image=pixels)
    np.testing.assert_array_equal(found["flat"][0], np.arange(72))
    np.testing.assert_array_equal(found["same"], pixels)


def test_an_image_format_is_refused_with_the_way_to_compile(open_file: Open, linear: Path) -> None:
    file = compiled_for_bpu(linear, ".bin", tensors={"obs": {"dtype": "NV12"}})
    with refusal(BackendError):
        open_file(file, cls=PyeasyBackend)
