# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A small file or folder of each kind that can be inspected without torch."""

import json
import struct
from pathlib import Path
from typing import Any


def rknn_content(
    qnt_type: str = "int8", target: str = "rk3588", version: int = 6, **tensors: list[int]
) -> bytes:
    """Return a whole file; tensors are inputs, and outputs from `actions` on."""
    tensors = tensors or {"obs": [1, 6], "actions": [1, 2]}
    sides = ["output" if name in ("actions", "h_out") else "input" for name in tensors]
    text = json.dumps(
        {
            "version": "2.5.0",
            "target_platform": [target],
            "norm_tensor": [
                {"tensor_id": place, "url": name, "size": size, "dtype": {"qnt_type": qnt_type}}
                for place, (name, size) in enumerate(tensors.items())
            ],
            "graph": [
                {"left": side, "left_tensor_id": place, "right_tensor_id": place}
                for place, side in enumerate(sides)
            ],
        }
    ).encode()
    head = struct.pack("<4s4xQQ40x", b"RKNN", version, 4) + bytes(4)
    return head + struct.pack("<Q", len(text)) + text


def rknn(file: Path, **given: Any) -> Path:
    """Write a model with the input `obs` [1, 6] and no output."""
    file.write_bytes(rknn_content("", obs=[1, 6], **given))
    return file
