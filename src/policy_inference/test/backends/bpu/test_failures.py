# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Options of the BPU's back end, and every failure of its runtimes that is known."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_core.errors import BackendError
from policy_inference.backends.base import BackendBase
from policy_inference.backends.bpu.hbm import BpuBackend
from policy_inference.backends.bpu.pyeasy import PyeasyBackend
from policy_inference.backends.child import ChildBackend
from policy_inference.testing.process import has_ended
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
    "options",
    [
        {"core": "4"},
        {"core": "both"},
        {"priority": "256"},
        {"model": "other"},
    ],
    ids=str,
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


@pytest.mark.parametrize(
    ("name", "target"),
    [("policy.onnx", None), ("policy", None), ("policy.bin", "nash-e"), ("policy.hbm", "bayes-e")],
)
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
        (
            {"load": "failed to allocate cached memory via hbUCPMallocCached."},
            BpuBackend,
            ".hbm",
        ),
        ({"run": "Data type mismatch for input tensor 'obs'"}, BpuBackend, ".hbm"),
        ({"run": "Mismatch in tensor dimensions for model: policy"}, BpuBackend, ".hbm"),
        ({"import": MISSING}, BpuBackend, ".hbm"),
        ({"import": "libhbucp.so: cannot open shared object file"}, BpuBackend, ".hbm"),
        ({"import": "numpy.core.multiarray failed to import"}, BpuBackend, ".hbm"),
        (
            {"import": "Python version mismatch: module was compiled for Python 3.10"},
            BpuBackend,
            ".hbm",
        ),
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


def test_a_run_that_the_runtime_answers_by_ending_the_process_is_an_error_of_that_run(
    open_file: Open, linear: Path, bpu_board: Board
) -> None:
    bpu_board(abort_at=7.0)
    backend = open_file(compiled_for_bpu(linear), cls=APART)
    backend.run()
    backend.inputs["obs"][:] = 7.0
    with refusal(BackendError):
        backend.run()
    has_ended(backend.pid)
    check_wording(backend.problem())


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
