# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A small file or folder of each kind that can be inspected without torch."""

from __future__ import annotations

import json
import struct
from pathlib import Path


def rknn(file: Path, *, version: int = 6) -> Path:
    """Write a model with the input `obs` [1, 6] and no output."""
    text = json.dumps(
        {
            "version": "2.5.0",
            "target_platform": ["rk3588"],
            "norm_tensor": [
                {"tensor_id": 0, "url": "obs", "size": [1, 6], "dtype": {"qnt_type": ""}}
            ],
            "graph": [{"left": "input", "left_tensor_id": 0, "right_tensor_id": 0}],
        }
    ).encode()
    head = struct.pack("<4s4xQQ40x", b"RKNN", version, 0)
    file.write_bytes(head + struct.pack("<Q", len(text)) + text)
    return file
