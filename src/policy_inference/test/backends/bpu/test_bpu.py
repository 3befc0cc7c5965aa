# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Options of the BPU's back end, and every failure of its runtimes that is known."""

import json
import sys
from collections.abc import Callable
from functools import partial
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
from policy_inference.backends.child import ChildBackend
from policy_inference.testing.case import reference
from policy_inference.testing.models import save
from testkit.wording import check_wording, refusal

from .cases import compiled_for_bpu

Open = Callable[..., BackendBase]
Board = Callable[..., None]
APART = partial(ChildBackend, BpuBackend)


def test_core_and_priority_are_set_once_as_the_defaults_of_the_model(
    open_file: Open, linear: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, seen = compiled_for_bpu(linear), list[dict[str, Any]]()
    import hbm_runtime  # type: ignore[import-not-found]  # the double

    def note(_: object, **given: Any) -> None:
        seen.append(given)

    monkeypatch.setattr(hbm_runtime.HB_HBMRuntime, "set_scheduling_params", note)
    open_file(file, core="3", priority="255").run()
    assert seen == [{"bpu_cores": {"policy": [3]}}, {"priority": {"policy": 255}}]


def test_core_and_priority_go_with_each_run_of_the_older_runtime(
    open_file: Open, linear: Path, bpu_board: Board, capfd: pytest.CaptureFixture[str]
) -> None:
    bpu_board(cores=2)
    backend = open_file(compiled_for_bpu(linear, ".bin"), cls=PyeasyBackend, core="1", priority="7")
    capfd.readouterr()
    backend.run()
    assert capfd.readouterr().err == "core_id=1 priority=7\n"


@pytest.mark.parametrize(
    "options", [{"core": "4"}, {"priority": "256"}, {"model": "other"}], ids=str
)
def test_options_that_mean_nothing_are_refused(
    open_file: Open, linear: Path, options: dict[str, str]
) -> None:
    with refusal(BackendError):
        open_file(compiled_for_bpu(linear), **options)


def test_of_several_models_in_a_file_one_is_named(
    open_file: Open, linear: Path, bpu_board: Board
) -> None:
    bpu_board(second="encoder")
    file = compiled_for_bpu(linear)
    with refusal(BackendError):
        open_file(file)
    assert open_file(file, model="encoder").details["model"] == "encoder"


@pytest.mark.parametrize(("name", "target"), [("policy.onnx", None), ("policy.bin", "nash-e")])
def test_a_file_of_another_kind_is_refused_before_the_runtime_sees_it(
    open_file: Open, tmp_path: Path, name: str, target: str | None
) -> None:
    (tmp_path / name).write_bytes(b"a model")
    with refusal(BackendError):
        open_file(tmp_path / name, target=target)


DLOPEN = "libpython3.10.so.1.0: cannot open shared object file: No such file"
MISSING = "Missing Horizon runtime libraries (provided by the 'hobot-dnn' package)"


@pytest.mark.parametrize(
    ("board", "cls", "suffix"),
    [
        ({"extensions": [".hbm"]}, BpuBackend, ".bin"),
        ({"load": "DNN Error", "say": "HBRT4_STATUS_BAD_DATA"}, BpuBackend, ".hbm"),
        ({"import": MISSING}, BpuBackend, ".hbm"),
        ({"import": "something else"}, BpuBackend, ".hbm"),
        ({"pyeasy_import": DLOPEN}, PyeasyBackend, ".bin"),
        ({"march": "bernoulli2"}, APART, ".hbm"),
        ({"march": "bernoulli2"}, PyeasyBackend, ".bin"),
        ({"cores": 1}, APART, ".hbm"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_what_the_vendor_says_becomes_cause_and_remedy(
    open_file: Open,
    linear: Path,
    bpu_board: Board,
    board: dict[str, Any],
    cls: Callable[..., BackendBase],
    suffix: str,
) -> None:
    file = compiled_for_bpu(linear, suffix)
    bpu_board(**board)
    with refusal(BackendError):
        open_file(file, cls=cls, **({"core": "2"} if "cores" in board else {}))


def test_a_forward_that_gives_nothing_or_refuses_a_size_is_recognised_by_what_it_writes(
    open_file: Open, linear: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = compiled_for_bpu(linear, ".bin")
    backend = open_file(file, cls=PyeasyBackend)
    with monkeypatch.context() as patch:
        patch.setenv("BPU_BOARD", json.dumps({"none": "hbDNNWaitTaskDone failed"}))
        with refusal(BackendError):
            backend.run()
        with refusal(BackendError):
            open_file(file, cls=PyeasyBackend)
    import hobot_dnn.pyeasy_dnn as double  # type: ignore[import-not-found]  # the double

    forward = double.Model.forward
    monkeypatch.setattr(
        double.Model, "forward", lambda self, arg, **given: forward(self, arg[:, :2], **given)
    )
    with refusal(BackendError):
        open_file(file, cls=PyeasyBackend)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (1, 3)])
def test_output_may_lack_axes_of_one_and_no_others(
    open_file: Open, linear: Path, monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...]
) -> None:
    file = compiled_for_bpu(linear)
    import hbm_runtime

    output = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    monkeypatch.setattr(
        hbm_runtime.HB_HBMRuntime, "run", lambda *_: {"policy": {"actions": output}}
    )
    if len(shape) == 4:
        with refusal(BackendError):
            open_file(file)
        return
    np.testing.assert_array_equal(open_file(file).outputs["actions"], [[0.0, 1.0, 2.0]])


HBM, PYEASY = "hbm_runtime", "hobot_dnn"
Installed = Callable[..., None]
BIN, HBM_FILE = Path("policy.bin"), Path("policy.hbm")


@pytest.fixture
def only_runtimes(bpu_board: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> Installed:
    """Let only these runtimes be installed, on such a board."""

    def apply(*names: str, **board: object) -> None:
        bpu_board(**board)
        for name in {HBM, PYEASY} - set(names):
            monkeypatch.setitem(sys.modules, name, None)

    apply(HBM, PYEASY)
    return apply


@pytest.mark.parametrize(
    ("names", "file", "options", "expected"),
    [
        ([HBM, PYEASY], BIN, {}, BpuBackend),
        ([PYEASY], BIN, {}, PyeasyBackend),
        ([HBM, PYEASY], HBM_FILE, {}, BpuBackend),
        ([], BIN, {}, BpuBackend),
        ([HBM, PYEASY], BIN, {"runtime": "pyeasy_dnn"}, PyeasyBackend),
    ],
)
def test_runtime_follows_from_what_is_installed_from_the_file_and_from_the_user(
    only_runtimes: Installed,
    names: list[str],
    file: Path,
    options: dict[str, str],
    expected: type[BackendBase],
) -> None:
    only_runtimes(*names)
    assert BpuBackend.for_file(file, options) is expected


def test_a_package_without_its_libraries_leaves_the_file_to_the_older_runtime_and_says_so(
    only_runtimes: Installed, caplog: pytest.LogCaptureFixture
) -> None:
    only_runtimes(HBM, PYEASY, **{"import": "Missing Horizon runtime libraries"})
    with caplog.at_level("INFO", "policy_inference"):
        chosen = BpuBackend.for_file(BIN, {})
    assert chosen is PyeasyBackend
    check_wording(caplog.messages[-1])


def test_a_runtime_that_there_is_not_is_refused() -> None:
    with refusal(BackendError):
        BpuBackend.for_file(BIN, {"runtime": "onnx"})


IMAGE = TensorSpec(name="image", shape=(1, 3, 4, 6))
RUNTIMES = (BpuBackend, ".hbm"), (PyeasyBackend, ".bin")


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
HBM_RUNS, PYEASY_RUNS = RUNTIMES
PADDED_TOO = {"obs": {"memory": [1, 8, 1, 16]}, **PADDED}
LAST = {"obs": {"shape": [1, 1, 1, 5], "layout": "NHWC"}}
RUNS: dict[str, tuple[Any, Any, Any, float]] = {
    # The runtime, what its tensors are, the observation, the tolerance.
    "four axes": (HBM_RUNS, {}, COUNT, 0),
    "four axes, pyeasy": (PYEASY_RUNS, {}, COUNT, 0),
    "scale of each channel": (HBM_RUNS, CHANNELS, DOUBLING, 3e-4),
    "scale of each channel, pyeasy": (PYEASY_RUNS, CHANNELS, DOUBLING, 3e-4),
    "zero points": (HBM_RUNS, ZERO_POINTS, SMALL, 1e-3),
    "float16": (HBM_RUNS, HALF, [0.1, 0.2, 0.3, 0.4, 0.5], 1e-3),
    "padding": (HBM_RUNS, PADDED, COUNT, 0),
    "padding, pyeasy": (PYEASY_RUNS, PADDED_TOO, COUNT, 0),
    "vector in the last axis": (PYEASY_RUNS, LAST, COUNT, 0),
}


@pytest.mark.parametrize("run", RUNS)
def test_tensors_of_the_runtime_are_the_vectors_of_the_contract(
    open_file: Open, linear: Path, run: str
) -> None:
    (cls, suffix), special, obs, atol = RUNS[run]
    backend = open_file(compiled_for_bpu(linear, suffix, tensors=special), cls=cls)
    found = ran(backend, obs=obs)["actions"]
    expected = reference(linear, {"obs": np.array([obs], np.float32)})["actions"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


@pytest.mark.parametrize(("cls", "suffix"), RUNTIMES)
def test_quantised_tensors_are_real_numbers_to_the_step(
    open_file: Open, linear: Path, cls: type[BackendBase], suffix: str
) -> None:
    scales = {"obs": 4.0 / 127, "actions": 8.0 / 127}
    special = {name: {"dtype": "int8", "scale": [scale]} for name, scale in scales.items()}
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
    open_file: Open, tmp_path: Path, cls: type[BackendBase], suffix: str
) -> None:
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),  # in the order of the contract
        helper.make_node("Identity", ["image"], ["same"]),
    ]
    sizes = {"image": IMAGE.shape}, {"flat": (1, 72), "same": IMAGE.shape}
    onnx = save(tmp_path / "image.onnx", nodes, *sizes)
    turned = {"shape": [1, 4, 6, 3], "layout": "NHWC"}
    file = compiled_for_bpu(onnx, suffix, tensors={"image": turned, "same": turned})
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
