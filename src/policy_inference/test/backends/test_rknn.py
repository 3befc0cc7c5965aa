# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What only Rockchip's board runtime does, against its double: see `rknnlite_double`."""

import json
import logging
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from policy_core.errors import BackendError
from policy_core.interfaces import TensorSpec
from policy_inference.backends.rknn import backend as rknn
from policy_inference.backends.rknn.backend import RknnBackend
from policy_inference.backends.rknn.failures import explain
from policy_inference.backends.rknn_file import RknnFile, RknnTensor, read_rknn
from policy_inference.testing.case import Array
from policy_inference.testing.models import save, save_linear
from testkit.wording import check_wording, refusal

from . import rknnlite_double
from .rknnlite_double import Board, OlderLite, RKNNLite, save_rknn

OBS, ACTIONS = TensorSpec(name="obs", shape=(1, 5)), TensorSpec(name="actions", shape=(1, 3))
Start = Callable[..., RknnBackend]


@pytest.fixture
def compatible_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Install the runtime on a board that does not say what it is; return where it would."""
    rknnlite_double.install_rknnlite(RKNNLite, monkeypatch)
    monkeypatch.setattr(logging.getLogger("acuityLogger"), "handlers", [])
    compatible = tmp_path / "compatible"
    monkeypatch.setattr(rknn, "COMPATIBLE", compatible)
    return compatible


@pytest.fixture
def open_rknn(compatible_file: Path, tmp_path: Path) -> Iterator[Start]:
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
            given: Any = {"precision": stated or precision, "target": target, "options": options}
            backend = RknnBackend(file, [OBS], [ACTIONS], **given)
            return stack.enter_context(closing(backend))

        yield apply


def test_versions_and_device_are_reported(
    open_rknn: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Board, "printed", "I RKNN: [10:00:00.000] RKNN Driver Information, version: 0.9.6\n"
    )
    details = open_rknn(core_mask="0_1").details
    assert details.keys() == {"precision", "model", "runtime", "device", "driver"}
    assert (details["precision"], details["driver"]) == ("fp16", "0.9.6")
    check_wording(details["model"], details["runtime"], details["device"])


@pytest.mark.parametrize(
    ("names", "target"),
    [
        (b"radxa,zero3\0rockchip,rk3566\0", None),
        (b"radxa,rock-5c\0rockchip,rk3588s\0", "rk3588s"),
        (b"vendor,board\0", "rk3588"),
    ],
    ids=["another chip", "same family", "no name"],
)
def test_a_file_for_another_chip_than_the_boards_is_refused(
    open_rknn: Start, compatible_file: Path, names: bytes, target: str | None
) -> None:
    compatible_file.write_bytes(names)
    if target is None:
        with refusal(BackendError):
            open_rknn()
        return
    open_rknn(target=target).run()


def test_core_mask_reaches_the_runtime(open_rknn: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    masks = list[int]()
    monkeypatch.setattr(RKNNLite, "init_runtime", lambda _, core_mask: masks.append(core_mask))
    with pytest.raises(BackendError):
        open_rknn(core_mask="0_1_2")
    assert masks == [RKNNLite.NPU_CORE_0_1_2]


@pytest.mark.parametrize(("chip", "mask"), [("rk3588", "3"), ("rk3566", "0")])
def test_a_core_that_the_chip_lacks_is_refused(open_rknn: Start, chip: str, mask: str) -> None:
    with refusal(BackendError):
        open_rknn(target=chip, made_for=chip, core_mask=mask)


@pytest.mark.parametrize(
    "board",
    [
        {"logged": "RKNN_ERR_MALLOC_FAIL"},
        {"logged": "failed", "printed": "E RKNN: RKNN_ERR_MALLOC_FAIL\n"},
        {"raised": OSError("/usr/lib/librknnrt.so: cannot open shared object file")},
    ],
    ids=str,
)
def test_reason_of_a_failure_and_its_remedy_are_reported(
    open_rknn: Start, monkeypatch: pytest.MonkeyPatch, board: dict[str, object]
) -> None:
    for name, value in board.items():
        monkeypatch.setattr(Board, name, value)
    with refusal(BackendError):
        open_rknn()


@pytest.mark.parametrize(
    "results",
    [[np.zeros((1, 4), np.float32)], [np.zeros((1, 3), np.int8)], []],
    ids=["size", "type", "none"],
)
def test_a_runtime_that_gives_something_else_than_the_contract_says_is_refused_whenever_it_does(
    open_rknn: Start, monkeypatch: pytest.MonkeyPatch, results: list[Array]
) -> None:
    backend = open_rknn()
    monkeypatch.setattr(RKNNLite, "inference", lambda *_, **__: results)
    with refusal(BackendError):
        backend.run()
    with refusal(BackendError):
        open_rknn()
    more_axes = [np.arange(3, dtype=np.float32).reshape(1, 3, 1, 1)]
    monkeypatch.setattr(RKNNLite, "inference", lambda *_, **__: more_axes)
    np.testing.assert_array_equal(open_rknn().outputs["actions"], [[0, 1, 2]])


def test_an_older_runtime_is_run_without_what_it_lacks(
    open_rknn: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    rknnlite_double.install_rknnlite(OlderLite, monkeypatch)
    backend = open_rknn()
    backend.inputs["obs"][:] = 1.0
    backend.run()
    assert np.any(backend.outputs["actions"])


def test_images_are_fed_with_channels_last(compatible_file: Path, tmp_path: Path) -> None:
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


TRACEBACK = 'Traceback (most recent call last):\n  File "rknn_lite.py", line 1, in run\n'


@pytest.mark.parametrize(
    "said",
    [
        "RKNN_ERR_TIMEOUT",
        "Please download the librknnrt.so from github and move it to directory /usr/lib/",
        "E RKNN: failed to submit!, op id: 3, op name: Conv",
        "Something else",
    ],
)
def test_words_become_cause_and_remedy(said: str) -> None:
    check_wording(explain("init_runtime", -1, f"Catch exception!\n{TRACEBACK}Exception: {said}"))


# Shortened from what RKNN Toolkit2 2.5.0 wrote for a model obs [1, 45] -> actions [1, 12], w8a8.
DESCRIPTION = {
    "version": "2.5.0",
    "target_platform": ["rk3588"],
    "ori_network_platform": "ONNX",
    "norm_tensor": [
        {"tensor_id": 0, "url": "obs", "size": [1, 45], "dtype": {"qnt_type": "int8"}},
        {"tensor_id": 1, "url": "actions", "size": [1, 12], "dtype": {"qnt_type": ""}},
    ],
    "graph": [
        {"left": "input", "left_tensor_id": 0, "right": "norm_tensor", "right_tensor_id": 0},
        {"left": "output", "left_tensor_id": 0, "right": "norm_tensor", "right_tensor_id": 1},
    ],
}
COMPILED = b"\x07" * 40


def content(description: object = DESCRIPTION, version: int = 6) -> bytes:
    text = json.dumps(description).encode()
    head = struct.pack("<4s4xQQ40x", b"RKNN", version, len(COMPILED))
    return head + COMPILED + struct.pack("<Q", len(text)) + text


@pytest.fixture
def rknn_path(tmp_path: Path) -> Path:
    return tmp_path / "policy.rknn"


def test_the_description_behind_the_compiled_part_is_read(rknn_path: Path) -> None:
    rknn_path.write_bytes(content())
    assert read_rknn(rknn_path) == RknnFile(
        format_version=6,
        toolkit="2.5.0",
        source="ONNX",
        targets=("rk3588",),
        inputs={"obs": RknnTensor(shape=(1, 45), precision="int8")},
        outputs={"actions": RknnTensor(shape=(1, 12), precision="float16")},
    )


def test_a_file_cut_off_anywhere_is_refused(rknn_path: Path) -> None:
    whole = content()
    for length in range(1, len(whole), 3):
        rknn_path.write_bytes(whole[:length])
        with pytest.raises(BackendError) as caught:
            read_rknn(rknn_path)
    check_wording(caught.value)


def test_a_description_of_another_layout_is_refused(rknn_path: Path) -> None:
    refused, left = set[str](), {"left": "input"}
    lacking: Any = [{"graph": [left]}, {"graph": [{**left, "left_tensor_id": float("inf")}]}]
    lacking += [{"norm_tensor": None}, {"target_platform": None}]
    odd: list[object] = [[], "text", {}, *({**DESCRIPTION, **each} for each in lacking)]
    for description in odd:
        rknn_path.write_bytes(content(description, version=9))
        with pytest.raises(BackendError) as caught:
            read_rknn(rknn_path)
        refused.add(str(caught.value))
    check_wording(*refused)
