# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The description inside a `.rknn` file, read without the vendor's runtime.

The layout of RKNN Toolkit2's model format 6 is, in little-endian order: `RKNN` and four zero bytes,
u64 format version, u64 n; at byte 64, the compiled part of n bytes; then u64 m and m bytes of JSON,
which end the file.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from policy_core.errors import BackendError

MAGIC = b"RKNN"
STORED_AS = {"w8a8": "int8", "w16a16i_dfp": "int16"}
"""Tensor type by precision; float16 for all other precisions."""
_POINTER = b"version https://git-lfs"
_FAMILIES = {"rk3588s": "rk3588", "rk3588s2": "rk3588", "rk3566": "rk3568"}
_HEAD, _LENGTH, _HEAD_SIZE = struct.Struct("<4s4xQQ"), struct.Struct("<Q"), 64


@dataclass(frozen=True, slots=True, kw_only=True)
class RknnTensor:
    """An input or output: its shape and type (`int8`, `int16` or `float16`)."""

    shape: tuple[int, ...]
    precision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RknnFile:
    """The description at the end of a `.rknn` file.

    Attributes:
        format_version: Version of the layout.
        toolkit: Version of the toolkit that created the file.
        source: Source format, e.g. ONNX.
        targets: Chips that the file runs on, e.g. rk3588.
        inputs, outputs: Tensors by name, in the model's order.
    """

    format_version: int
    toolkit: str
    source: str
    targets: tuple[str, ...]
    inputs: dict[str, RknnTensor]
    outputs: dict[str, RknnTensor]

    @property
    def precisions(self) -> frozenset[str]:
        """Precisions of the inputs and outputs; in a quantized model, some may be float16."""
        return frozenset(
            tensor.precision for tensor in (*self.inputs.values(), *self.outputs.values())
        )


def read_rknn(path: Path) -> RknnFile:
    """Read a file's description; the compiled part is not read.

    Raises:
        BackendError: The file is not a .rknn file, is truncated, or has an unknown layout.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        try:
            version, text = _read(file, path.stat().st_size)
        except (struct.error, EOFError) as error:
            raise BackendError(
                f"{path}: expected a complete .rknn file, found a truncated one; copy it again"
            ) from error
        except ValueError as error:
            raise BackendError(
                f"{path}: expected a .rknn file, found {error}; copy "
                "it again, or compile it with `model_tools compile rknn`"
            ) from error
    try:
        return _described(version, json.loads(text))
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise BackendError(
            f"{path}: expected a description as in RKNN Toolkit2 2.5, found one in format "
            f"version {version}; convert the model again with a newer toolkit"
        ) from error


def chip(name: str) -> str:
    """Return the chip whose models this chip runs, such as rk3588 for rk3588s."""
    return _FAMILIES.get(name, name)


def _read(file: BinaryIO, size: int) -> tuple[int, bytes]:
    """Return the format version and the JSON text."""
    head = file.read(_HEAD_SIZE)
    if not head.startswith(MAGIC[: len(head)]) or not head:
        kind = "a pointer of Git LFS, " if head.startswith(_POINTER) else ""
        raise ValueError(f"{kind}one that begins with {head[:8]!r}")
    _, version, compiled = _HEAD.unpack_from(head)
    if _HEAD_SIZE + compiled + _LENGTH.size > size:
        raise EOFError
    file.seek(_HEAD_SIZE + compiled)
    (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
    if _HEAD_SIZE + compiled + _LENGTH.size + length > size:
        raise EOFError
    return version, file.read(length)


def _described(version: int, content: Any) -> RknnFile:
    tensors = {tensor["tensor_id"]: tensor for tensor in content["norm_tensor"]}

    def side(name: str) -> dict[str, RknnTensor]:
        ends = [end for end in content["graph"] if end["left"] == name]
        ends.sort(key=lambda end: int(end["left_tensor_id"]))
        found = (tensors[end["right_tensor_id"]] for end in ends)
        return {str(tensor["url"]): _tensor(tensor) for tensor in found}

    return RknnFile(
        format_version=version,
        toolkit=str(content["version"]),
        source=str(content.get("ori_network_platform", "")),
        targets=tuple(map(str, content["target_platform"])),
        inputs=side("input"),
        outputs=side("output"),
    )


def _tensor(content: Any) -> RknnTensor:
    return RknnTensor(
        shape=tuple(map(int, content["size"])),
        precision=str(content["dtype"]["qnt_type"]) or "float16",
    )
