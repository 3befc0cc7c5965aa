# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What only Rockchip's board runtime does, against its double: see `rknnlite_double`."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from policy_inference.backends.rknn import backend as rknn
from policy_inference.backends.rknn.backend import RknnBackend
from policy_inference.backends.rknn.vendor_log import VendorLog
from policy_inference.errors import BackendError
from policy_inference.interfaces import TensorSpec
from policy_inference.testing.case import Array
from policy_inference.testing.models import save, save_linear

from . import rknnlite_double
from .rknnlite_double import Board, OlderLite, RKNNLite, save_rknn

OBS, ACTIONS = TensorSpec(name="obs", shape=(1, 5)), TensorSpec(name="actions", shape=(1, 3))
Start = Callable[..., RknnBackend]


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Install the runtime on a board that does not say what it is; return where it would."""
    rknnlite_double.install(RKNNLite, monkeypatch)
    monkeypatch.setattr(logging.getLogger("acuityLogger"), "handlers", [])
    compatible = tmp_path / "compatible"
    monkeypatch.setattr(rknn, "COMPATIBLE", compatible)
    return compatible


@pytest.fixture
def start(board: Path, tmp_path: Path) -> Iterator[Start]:
    """Open a linear model, compiled and opened with the options given."""
    with ExitStack() as stack:

        def apply(
            precision: str = "fp16",
            stated: str = "",
            target: str | None = "rk3588",
            made_for: str = "rk3588",
            **options: str,
        ) -> RknnBackend:
            file = save_rknn(save_linear(tmp_path / "policy.onnx", 5, 3), precision, made_for)
            backend = RknnBackend(
                file,
                [OBS],
                [ACTIONS],
                precision=stated or precision,
                target=target,
                options=options,
            )
            return stack.enter_context(closing(backend))

        yield apply


def test_versions_and_device_are_reported(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Board, "printed", "I RKNN: [10:00:00.000] RKNN Driver Information, version: 0.9.6\n"
    )

    details = start(core_mask="0_1").details

    assert details == {
        "precision": "fp16",
        "model": "made by RKNN Toolkit2 2.5.0",
        "runtime": "rknn-toolkit-lite2; API: 2.3.2 (429f97ae6b@2025-04-09) DRV: x",
        "device": "NPU, core mask 0_1",
        "driver": "0.9.6",
    }


@pytest.mark.parametrize("precision", ["fp16", "w8a8", "w16a16i_dfp"])
def test_files_of_every_precision_open(start: Start, precision: str) -> None:
    assert start(precision).details["precision"] == precision


@pytest.mark.parametrize(
    ("stated", "made"), [("fp16", "w8a8"), ("w8a8", "w16a16i_dfp"), ("w16a16i_dfp", "w8a8")]
)
def test_a_file_of_another_precision_than_stated_is_refused(
    start: Start, stated: str, made: str
) -> None:
    with pytest.raises(BackendError, match=f"expected {stated} as in policy.yaml, found tensors"):
        start(made, stated=stated)


def test_a_file_for_another_chip_than_stated_is_refused(start: Start) -> None:
    with pytest.raises(BackendError, match=r"for rk3576 as in policy.yaml, found one for rk3588;"):
        start(target="rk3576")


def test_a_file_for_another_chip_than_the_boards_is_refused(start: Start, board: Path) -> None:
    board.write_bytes(b"radxa,zero3\0rockchip,rk3566\0")

    with pytest.raises(
        BackendError,
        match=r"for this board \(rk3566\), found one for rk3588; "
        "compile it with --target rk3568",
    ):
        start()


@pytest.mark.parametrize("names", [b"radxa,rock-5c\0rockchip,rk3588s\0", b"vendor,board\0"])
def test_a_board_of_the_same_family_or_without_a_name_runs_it(
    start: Start, board: Path, names: bytes
) -> None:
    board.write_bytes(names)

    start(target="rk3588s").run()


def test_a_file_that_does_not_fit_the_contract_never_reaches_the_runtime(
    board: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[str]()
    monkeypatch.setattr(RKNNLite, "load_rknn", lambda _, path: seen.append(path))
    file = save_rknn(save_linear(tmp_path / "policy.onnx", 4, 3))

    with pytest.raises(BackendError, match=r"expected obs float32\[1, 5\] as in .*, found"):
        RknnBackend(file, [OBS], [ACTIONS], precision="fp16")
    assert not seen


@pytest.mark.parametrize("name", ["auto", "0", "1", "2", "0_1", "0_1_2", "all"])
def test_core_mask_reaches_the_runtime(
    start: Start, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    masks = list[int]()

    def note(_: RKNNLite, *, core_mask: int) -> int:
        masks.append(core_mask)
        return -1

    monkeypatch.setattr(RKNNLite, "init_runtime", note)

    with pytest.raises(BackendError, match="init_runtime gave -1"):
        start(core_mask=name)

    assert masks == [getattr(RKNNLite, f"NPU_CORE_{name.upper()}")]


@pytest.mark.parametrize(
    ("chip", "mask"), [("rk3588", "3"), ("rk3576", "2"), ("rk3576", "0_1_2"), ("rk3566", "0")]
)
def test_a_core_that_the_chip_lacks_is_refused(start: Start, chip: str, mask: str) -> None:
    with pytest.raises(BackendError, match=f"core_mask: expected one of auto.*, found '{mask}'"):
        start(target=chip, made_for=chip, core_mask=mask)


@pytest.mark.parametrize(
    ("logged", "cause", "remedy"),
    [
        (
            "Invalid RKNN model version 6",
            "a librknnrt.so that is older than the model",
            "install the librknnrt.so",
        ),
        (
            "parseRKNN: invalid RKNN_MAGIC!",
            "a model that the library refuses",
            "copy the model again",
        ),
        (
            "failed to open rknpu module, need to insmod rknpu dirver!",
            "no access to the NPU",
            "groups render and video",
        ),
        ("RKNN_ERR_TARGET_PLATFORM_UNMATCH", "a model for another chip", "for this board's chip"),
        ("RKNN_ERR_MALLOC_FAIL", "not enough memory", "close other models"),
        ("RKNN_ERR_DEVICE_UNAVAILABLE", "an NPU that is not available", "dmesg"),
        ("RKNN_ERR_TIMEOUT", "an NPU that does not answer", "cores of their own"),
        (
            "Please download the librknnrt.so from github and move it to directory /usr/lib/",
            "no librknnrt.so",
            "copy the one of RKNN Toolkit2",
        ),
        (
            "docker run -v /dev/dri/renderD129:/dev/dri/renderD129",
            "a container without the NPU's",
            "start it with -v /dev/dri",
        ),
        ("RKNN_ERR_DECRYPT_FAILED", "an encrypted model", "without encryption"),
        ("RKNN_ERR_FAIL", "most often a library older than the model", "install the librknnrt.so"),
    ],
)
@pytest.mark.parametrize("way", ["logged", "printed"])
def test_reason_of_a_failure_and_its_remedy_are_reported(
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    logged: str,
    cause: str,
    remedy: str,
    way: str,
) -> None:
    monkeypatch.setattr(Board, "logged", "failed" if way == "printed" else logged)
    if way == "printed":
        monkeypatch.setattr(Board, "printed", f"E RKNN: {logged}\n")

    with pytest.raises(BackendError) as caught:
        start()

    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'policy.rknn'}: ")
    assert cause in message
    assert "init_runtime gave -1, and it said: Catch exception when init runtime! | " in message
    assert logged in message
    assert remedy in message


@pytest.mark.parametrize(
    ("raised", "cause"),
    [
        (OSError("/usr/lib/librknnrt.so: invalid ELF header"), "perhaps a web page saved under"),
        (OSError("/usr/lib/librknnrt.so: cannot open shared object file"), "no librknnrt.so"),
        (AttributeError("'NoneType' object has no attribute 'format'"), "a machine without an NPU"),
    ],
)
def test_what_the_runtime_raises_is_reported(
    start: Start, monkeypatch: pytest.MonkeyPatch, raised: Exception, cause: str
) -> None:
    monkeypatch.setattr(Board, "raised", raised)

    with pytest.raises(BackendError, match=cause):
        start()


def test_what_the_library_prints_while_opening_is_in_the_log(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Board, "printed", "I RKNN: Runtime Information\n")

    with caplog.at_level("INFO", "policy_inference"):
        start()

    assert "rknn: I RKNN: Runtime Information" in caplog.messages


def test_a_run_that_fails_is_an_error_and_the_next_one_possible(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = start()
    with monkeypatch.context() as patch:
        patch.setattr(Board, "lost", "failed to submit!, op id: 3")
        with pytest.raises(BackendError, match="an NPU that does not answer: inference gave None"):
            backend.run()

    backend.run()


@pytest.mark.parametrize("precision", ["w8a8", "w16a16i_dfp"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_integers_do_not_hide_what_is_not_finite(
    start: Start, precision: str, value: float
) -> None:
    backend = start(precision)
    backend.inputs["obs"][0, 2] = value

    with pytest.raises(BackendError, match="rknn: input obs: expected finite values, found NaN or"):
        backend.run()


@pytest.mark.parametrize(
    ("result", "found"),
    [
        (np.zeros((1, 4), np.float32), r"float32\[1, 4\]"),
        (np.zeros((1, 3), np.int8), r"int8\[1, 3\]"),
    ],
)
def test_a_runtime_that_gives_other_sizes_or_types_is_refused(
    start: Start, monkeypatch: pytest.MonkeyPatch, result: Array, found: str
) -> None:
    monkeypatch.setattr(RKNNLite, "inference", lambda *_, **__: [result])

    with pytest.raises(BackendError, match=f"outputs of the sizes in the file .*, found {found}"):
        start()


@pytest.mark.parametrize(
    "results",
    [
        [np.zeros((1, 4), np.float32)],
        [np.zeros((1, 3), np.int8)],
        [],
        [np.zeros((1, 3), np.float32)] * 2,
    ],
)
def test_a_runtime_that_changes_its_results_while_it_runs_is_an_error_of_the_run(
    start: Start, monkeypatch: pytest.MonkeyPatch, results: list[Array]
) -> None:
    backend = start()
    monkeypatch.setattr(RKNNLite, "inference", lambda *_, **__: results)

    with pytest.raises(BackendError, match="expected outputs of the sizes in the file"):
        backend.run()


def test_results_with_more_axes_of_1_are_taken(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = np.arange(3, dtype=np.float32).reshape(1, 3, 1, 1)
    monkeypatch.setattr(RKNNLite, "inference", lambda *_, **__: [result])

    backend = start()

    np.testing.assert_array_equal(backend.outputs["actions"], [[0, 1, 2]])


def test_several_models_log_each_line_once(start: Start) -> None:
    one, other, third = start(), start(), start()

    handlers = logging.getLogger("acuityLogger").handlers
    streams = [handler for handler in handlers if type(handler) is logging.StreamHandler]

    assert len(streams) == 1
    for backend in (one, other, third):
        backend.close()
    assert not any(isinstance(handler, VendorLog) for handler in handlers)


def test_an_older_runtime_is_run_without_what_it_lacks(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    rknnlite_double.install(OlderLite, monkeypatch)
    backend = start()
    backend.inputs["obs"][:] = 1.0

    backend.run()

    assert np.any(backend.outputs["actions"])


def test_images_are_fed_with_channels_last(board: Path, tmp_path: Path) -> None:
    """The double refuses them in the order of the contract."""
    image = TensorSpec(name="image", shape=(1, 3, 4, 6))
    nodes = [helper.make_node("Identity", ["image"], ["same"])]
    onnx = save(tmp_path / "image.onnx", nodes, {"image": image.shape}, {"same": image.shape})
    same = TensorSpec(name="same", shape=image.shape)
    backend = RknnBackend(save_rknn(onnx), [image], [same], precision="fp16")
    backend.inputs["image"][:] = np.arange(72).reshape(image.shape)

    backend.run()

    np.testing.assert_array_equal(backend.outputs["same"], backend.inputs["image"])
    backend.close()


def test_on_a_machine_without_the_runtime_the_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "rknnlite", None)
    monkeypatch.setitem(sys.modules, "rknnlite.api", None)

    with pytest.raises(BackendError, match=r"install rknn-toolkit-lite2 .*; on a PC use rknn_sim"):
        RknnBackend(tmp_path / "policy.rknn", [OBS], [ACTIONS])
