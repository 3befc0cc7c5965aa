# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The files that torch writes, as far as they can be told without torch."""

from __future__ import annotations

import shlex
import zipfile
from collections.abc import Sequence
from pathlib import Path

from model_tools.errors import ToolError

_PICKLE_MAGIC = b"\x80"


def members(path: Path) -> list[zipfile.ZipInfo]:
    """Return what is in a zip archive; nothing if it is none, or not whole.

    Raises:
        OSError: It cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    # ValueError: names that are no text; NotImplementedError: an archive of a later standard.
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return []


def is_program(found: Sequence[zipfile.ZipInfo]) -> bool:
    """Return whether an archive holds the code of a TorchScript program."""
    return any("/code/" in member.filename for member in found)


def is_data(found: Sequence[zipfile.ZipInfo]) -> bool:
    """Return whether an archive holds what `torch.save` wrote."""
    return any(member.filename.rpartition("/")[2] == "data.pkl" for member in found)


def refuse_checkpoint(path: Path) -> None:
    """Refuse what torch wrote where an ONNX model is wanted, with the command that makes one of it.

    Raises:
        ToolError: It is a checkpoint or a program of torch.
        OSError: It cannot be read.
    """
    found = members(path)
    if is_program(found):
        kind, trust = "a TorchScript program", ["--trust-code"]
    elif is_data(found) or _begins_with(path, _PICKLE_MAGIC):
        kind, trust = "a checkpoint of PyTorch", []
    else:
        return
    command = shlex.join(["model_tools", "export", str(path), "--config", "network.yaml",
                          "--output", "policy.onnx", *trust])
    raise ToolError(f"{path}: expected an ONNX model, found {kind}; this makes one of it, with the "
                    f"sizes of its layers in network.yaml: {command}")


def _begins_with(path: Path, magic: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(magic)) == magic
