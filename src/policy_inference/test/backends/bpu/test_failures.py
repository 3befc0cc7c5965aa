# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Options of the BPU's back end, and every failure of its runtimes that is known."""

import json
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from policy_inference.backends.base import BackendBase
from policy_inference.backends.bpu.hbm import BpuBackend
from policy_inference.backends.bpu.pyeasy import PyeasyBackend
from policy_inference.backends.child import ChildBackend
from policy_inference.errors import BackendError
from policy_inference.testing.process import has_ended

from .cases import compiled

Open = Callable[..., BackendBase]
Board = Callable[..., None]
APART = partial(ChildBackend, BpuBackend)


@pytest.mark.parametrize("value", ["method", "text"])
def test_version_is_reported_where_it_is_a_method_and_where_it_is_a_text(
    open_file: Open, linear: Path, board: Board, value: str
) -> None:
    board(version=value)

    details = open_file(compiled(linear), target="nash-e").details

    assert details == {
        "runtime": "hbm_runtime 1.2.3",
        "model": "policy",
        "device": "BPU nash-e",
        "precision": "int8",
    }


def test_core_and_priority_are_set_once_as_the_defaults_of_the_model(
    open_file: Open, linear: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, seen = compiled(linear), list[dict[str, Any]]()
    import hbm_runtime  # type: ignore[import-not-found]  # the double

    def note(_: object, **given: Any) -> None:
        seen.append(given)

    monkeypatch.setattr(hbm_runtime.HB_HBMRuntime, "set_scheduling_params", note)

    open_file(file, core="3", priority="255").run()

    assert seen == [{"bpu_cores": {"policy": [3]}}, {"priority": {"policy": 255}}]


def test_core_and_priority_go_with_each_run_of_the_older_runtime(
    open_file: Open, linear: Path, board: Board, capfd: pytest.CaptureFixture[str]
) -> None:
    board(cores=2)
    backend = open_file(compiled(linear, ".bin"), cls=PyeasyBackend, core="1", priority="7")
    capfd.readouterr()

    backend.run()

    assert capfd.readouterr().err == "core_id=1 priority=7\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"core": "4"}, "option core: expected a number from 0 to 3, found '4'"),
        ({"core": "both"}, "option core: expected a number from 0 to 3, found 'both'"),
        ({"priority": "256"}, "option priority: expected a number from 0 to 255, found '256'"),
        ({"priority": "-1"}, "option priority: expected a number from 0 to 255, found '-1'"),
        ({"model": "other"}, "option model to name one of policy, found other"),
        ({"speed": "1"}, "options among runtime, model, core, priority, found speed"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    open_file: Open, linear: Path, options: dict[str, str], message: str
) -> None:
    with pytest.raises(BackendError, match=message):
        open_file(compiled(linear), **options)


def test_of_several_models_in_a_file_one_is_named(
    open_file: Open, linear: Path, board: Board
) -> None:
    board(second="encoder")
    file = compiled(linear)

    with pytest.raises(BackendError, match="to name one of policy, encoder, found nothing"):
        open_file(file)
    assert open_file(file, model="encoder").details["model"] == "encoder"


@pytest.mark.parametrize(
    ("name", "target", "message"),
    [
        ("policy.onnx", None, "expected a .hbm or .bin file, found .onnx"),
        ("policy", None, "expected a .hbm or .bin file, found neither"),
        (
            "policy.bin",
            "nash-e",
            "a file for nash-e, as policy.yaml says, found one for a BPU bayes-",
        ),
        (
            "policy.hbm",
            "bayes-e",
            "a file for bayes-e, as policy.yaml says, found one for a BPU nash-",
        ),
    ],
)
def test_a_file_of_another_kind_is_refused_before_the_runtime_sees_it(
    open_file: Open, tmp_path: Path, name: str, target: str | None, message: str
) -> None:
    (tmp_path / name).write_bytes(b"a model")

    with pytest.raises(BackendError, match=message):
        open_file(tmp_path / name, target=target)


@pytest.mark.parametrize(("cls", "suffix"), [(APART, ".hbm"), (PyeasyBackend, ".bin")])
def test_model_for_another_march_is_recognised_by_what_the_library_writes(
    open_file: Open, linear: Path, board: Board, cls: Callable[..., BackendBase], suffix: str
) -> None:
    board(march="bernoulli2")

    with pytest.raises(BackendError) as caught:
        open_file(compiled(linear, suffix), cls=cls)

    message = str(caught.value)
    assert str(linear.with_suffix(suffix)) in message
    assert "[BPU_PLAT]Incompatible Platform!!" in message
    assert "hbDNNInferV2 failed" in message
    assert "another BPU than that of this board; compile it again with its --target" in message
    assert "S100: nash-e" in message


@pytest.mark.parametrize(
    ("board_is", "suffix", "message"),
    [
        ({"extensions": [".hbm"]}, ".bin", r"Only .hbm supported.*pip uninstall hbm_runtime"),
        (
            {"load": "DNN Error", "say": "HBRT4_STATUS_BAD_DATA"},
            ".hbm",
            "DNN Error | HBRT4_STATUS_BAD_DATA; .*the memory of the BPU is used up: "
            "close other models",
        ),
        (
            {"load": "failed to allocate cached memory via hbUCPMallocCached."},
            ".hbm",
            "; the memory of the BPU is used up: close other models",
        ),
        (
            {"run": "Data type mismatch for input tensor 'obs'"},
            ".hbm",
            "; the runtime takes other tensors than it described",
        ),
        (
            {"run": "Mismatch in tensor dimensions for model: policy"},
            ".hbm",
            "; the runtime takes other tensors than it described",
        ),
        (
            {"import": "Missing Horizon runtime libraries (provided by the 'hobot-dnn' package)"},
            ".hbm",
            "bpu: hbm_runtime: Missing .* libraries below it are not; "
            "install .*hobot-dnn. .apt. on RDK",
        ),
        (
            {"import": "libhbucp.so: cannot open shared object file"},
            ".hbm",
            "its libraries are those of a board, and not here; install",
        ),
        ({"import": "numpy.core.multiarray failed to import"}, ".hbm", "built for another NumPy"),
        (
            {"import": "Python version mismatch: module was compiled for Python 3.10"},
            ".hbm",
            "for another Python; run with that of the board's system",
        ),
        ({"import": "something else"}, ".hbm", "something else; install the runtime of the board"),
    ],
)
def test_what_the_vendor_says_becomes_cause_and_remedy(
    open_file: Open, linear: Path, board: Board, board_is: dict[str, Any], suffix: str, message: str
) -> None:
    file = compiled(linear, suffix)
    board(**board_is)

    with pytest.raises(BackendError, match=message):
        open_file(file)


def test_a_core_that_this_board_lacks_is_reported(
    open_file: Open, linear: Path, board: Board
) -> None:
    board(cores=1)

    with pytest.raises(
        BackendError,
        match=r"(?s)ended with status -6 during opening .*linear.hbm; "
        "it said: .*hbUCPSubmitTask failed; this board may have "
        "fewer cores; set option core",
    ):
        open_file(compiled(linear), cls=APART, core="2")


def test_a_run_that_the_runtime_answers_by_ending_the_process_is_an_error_of_that_run(
    open_file: Open, linear: Path, board: Board
) -> None:
    board(abort_at=7.0)
    backend = open_file(compiled(linear), cls=APART)
    backend.run()
    backend.inputs["obs"][:] = 7.0

    with pytest.raises(BackendError, match=r"ended.* during a run"):
        backend.run()
    has_ended(backend.pid)

    assert re.search(
        r"(?s)ended with status -6; it said: .*hbUCPWaitTaskDone failed; the BPU did "
        "not finish",
        backend.problem(),
    )


def test_python_of_the_older_package_is_named(open_file: Open, linear: Path, board: Board) -> None:
    file = compiled(linear, ".bin")
    board(pyeasy_import="libpython3.10.so.1.0: cannot open shared object file: No such file")

    with pytest.raises(
        BackendError,
        match=r"bpu: hobot_dnn.pyeasy_dnn: libpython3.10.* with the "
        "Python that the library's name says",
    ):
        open_file(file, cls=PyeasyBackend)


def test_size_that_the_older_runtime_refuses_is_recognised_by_what_it_writes(
    open_file: Open, linear: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = compiled(linear, ".bin")
    import hobot_dnn.pyeasy_dnn as double  # type: ignore[import-not-found]  # the double

    forward = double.Model.forward
    monkeypatch.setattr(
        double.Model, "forward", lambda self, arg, **given: forward(self, arg[:, :2], **given)
    )

    with pytest.raises(
        BackendError,
        match=r"Invalid data size \(8\) for input 0; the runtime "
        "takes other tensors than it described",
    ):
        open_file(file, cls=PyeasyBackend)


def test_a_forward_that_gives_nothing_is_recognised_by_what_it_writes(
    open_file: Open, linear: Path, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = compiled(linear, ".bin")
    backend = open_file(file, cls=PyeasyBackend)
    monkeypatch.setenv("BPU_BOARD", json.dumps({"none": "hbDNNWaitTaskDone failed"}))

    with pytest.raises(BackendError, match="bpu: pyeasy_dnn: forward gave None; look at what the"):
        backend.run()
    with pytest.raises(BackendError, match=r"gave None \| hbDNNWaitTaskDone failed; the BPU did"):
        open_file(file, cls=PyeasyBackend)


def test_failure_of_a_run_is_reported_and_the_next_run_is_possible(
    open_file: Open, linear: Path, board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = open_file(compiled(linear))
    monkeypatch.setenv("BPU_BOARD", json.dumps({"run": "UCP Error: hbUCPMallocCached."}))

    with pytest.raises(
        BackendError,
        match=r"bpu: hbm_runtime: UCP Error: hbUCPMallocCached.; the "
        "memory of the BPU is used up",
    ):
        backend.run()
    monkeypatch.setenv("BPU_BOARD", "{}")
    backend.run()


def test_output_of_another_shape_than_described_is_refused(
    open_file: Open, linear: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = compiled(linear)
    import hbm_runtime

    monkeypatch.setattr(
        hbm_runtime.HB_HBMRuntime,
        "run",
        lambda *_: {"policy": {"actions": np.zeros((1, 1, 1, 1), np.float32)}},
    )

    with pytest.raises(
        BackendError,
        match=r"output actions: expected float32\[1, 3, 1, 1\] as the "
        r"model says, found float32\[1, 1, 1, 1\]",
    ):
        open_file(file)


def test_output_without_the_axes_of_one_is_taken(
    open_file: Open, linear: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = compiled(linear)
    import hbm_runtime

    monkeypatch.setattr(
        hbm_runtime.HB_HBMRuntime,
        "run",
        lambda *_: {"policy": {"actions": np.array([[1.0, 2.0, 3.0]], np.float32)}},
    )

    backend = open_file(file)

    np.testing.assert_array_equal(backend.outputs["actions"], [[1.0, 2.0, 3.0]])


def test_what_the_library_writes_while_opening_is_kept_in_the_log(
    open_file: Open,
    linear: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    with caplog.at_level("INFO", "policy_inference"):
        open_file(compiled(linear))

    assert "bpu: [BPU_PLAT]BPU Platform Version(1.3.6)!" in caplog.messages
    assert capfd.readouterr().err == ""
    os.write(2, b"afterwards")
    assert capfd.readouterr().err == "afterwards"
