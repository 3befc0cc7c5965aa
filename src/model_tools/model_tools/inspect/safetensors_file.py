# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Tensors in a safetensors file; only those that are asked for are read."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from safetensors import SafetensorError, safe_open

from model_tools.errors import ToolError
from policy_inference.interfaces import Tensor


def read_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes by name, from the header.

    Raises:
        ToolError: It is another kind of file, or cut off.
        OSError: It cannot be read.
    """
    try:
        with safe_open(path, framework="np") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118  # not a mapping
    except SafetensorError as error:
        raise _wrong(path, error) from error


def read_tensors(path: Path, names: Collection[str] | None = None) -> dict[str, Tensor]:
    """Return tensors by name: those of `names` that are there, or all.

    Raises:
        ToolError: It is another kind of file, is cut off, or holds types that numpy lacks.
        OSError: It cannot be read.
    """
    try:
        with safe_open(path, framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()  # noqa: SIM118  # not a mapping
                    if names is None or name in names}
    except (SafetensorError, TypeError, AttributeError) as error:
        raise _wrong(path, error) from error


def _wrong(path: Path, error: Exception) -> ToolError:
    return ToolError(f"{path}: expected a whole safetensors file, found {error}")
