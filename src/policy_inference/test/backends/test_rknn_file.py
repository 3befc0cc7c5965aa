# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from policy_core.errors import BackendError
from policy_inference.backends.rknn_file import RknnFile, RknnTensor, read_rknn
from testkit.wording import check_wording, refusal

# Shortened from what RKNN Toolkit2 2.5.0 wrote for a model obs [1, 45] -> actions [1, 12], w8a8.
DESCRIPTION = {
    "version": "2.5.0",
    "target_platform": ["rk3588"],
    "ori_network_platform": "ONNX",
    "input_num": 1,
    "output_num": 1,
    "norm_tensor": [
        {
            "tensor_id": 0,
            "url": "obs",
            "size": [1, 45],
            "dim_num": 2,
            "dtype": {"qnt_method": "layer", "qnt_type": "int8", "vx_type": "int8"},
        },
        {
            "tensor_id": 1,
            "url": "actions",
            "size": [1, 12],
            "dim_num": 2,
            "dtype": {"qnt_method": "", "qnt_type": "", "vx_type": ""},
        },
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


@pytest.mark.parametrize(
    "junk",
    [
        b"",
        b"hello, this is no model at all",
        bytes(200),
        b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\nsize 9\n",
    ],
    ids=["empty", "text", "zeros", "pointer"],
)
def test_another_kind_of_file_is_refused(rknn_path: Path, junk: bytes) -> None:
    rknn_path.write_bytes(junk)
    with refusal(BackendError):
        read_rknn(rknn_path)


def test_a_description_of_another_layout_is_refused(rknn_path: Path) -> None:
    refused = set[str]()
    odd: tuple[object, ...] = (
        [],
        "text",
        {},
        {**DESCRIPTION, "graph": [{"left": "input"}]},
        {**DESCRIPTION, "graph": [{"left": "input", "left_tensor_id": float("inf")}]},
        {**DESCRIPTION, "norm_tensor": None},
        {**DESCRIPTION, "target_platform": None},
    )
    for description in odd:
        rknn_path.write_bytes(content(description, version=9))
        with pytest.raises(BackendError) as caught:
            read_rknn(rknn_path)
        refused.add(str(caught.value))
    check_wording(*refused)
