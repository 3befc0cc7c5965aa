# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""File types by content, or by name if the content is ambiguous."""

from __future__ import annotations

import shlex
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from model_tools.errors import ToolError
from policy_core.plan import MAGIC as PLAN_MAGIC
from policy_inference.backends.rknn_file import MAGIC as RKNN_MAGIC

PROGRAM = ".torchscript"
PLAN_SUFFIX = ".polplan"
"""Suffix of a native core's plan; TensorRT also calls its engines .plan."""
_MAGIC = {RKNN_MAGIC: ".rknn", b"\x93NUMPY": ".npy", PLAN_MAGIC[:-1]: PLAN_SUFFIX}
_STAND_INS = {
    b"version https://git-lfs": "a Git LFS pointer; run git lfs pull",
    b"<!doctype html": "a web page; download the file itself",
    b"<html": "a web page; download the file itself",
}
_PICKLE_MAGIC = b"\x80"


def find_suffix(path: Path) -> str:
    """Return the content's usual suffix, or else the name's suffix (lower case); "" for folders."""
    if not path.is_file():
        return ""
    head = _head(path)
    known = next((suffix for magic, suffix in _MAGIC.items() if head.startswith(magic)), "")
    return known or _suffix_of_archive(path) or path.suffix.lower()


def refuse_stand_in(path: Path) -> None:
    """Reject an empty file, or a small file often saved by mistake in place of a large one."""
    head = _head(path).lower() if path.is_file() else b"?"
    if not head:
        raise ToolError(f"{path}: expected a file with content, found an empty file")
    for start, words in _STAND_INS.items():
        if head.startswith(start):
            raise ToolError(f"{path}: expected a model or data, found {words}")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(max(map(len, (*_MAGIC, *_STAND_INS))))


def _suffix_of_archive(path: Path) -> str:
    found = members(path)
    if is_program(found):
        return PROGRAM
    if is_data(found):
        return ".pt"
    arrays = found and all(member.filename.endswith(".npy") for member in found)
    return ".npz" if arrays else ""


def members(file: Path | IO[bytes]) -> list[zipfile.ZipInfo]:
    """Return the entries of a zip archive; empty for other or damaged files."""
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.infolist()
    # ValueError: names that are not text; NotImplementedError: an archive of a later standard.
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return []


def is_program(found: Sequence[zipfile.ZipInfo]) -> bool:
    """Return whether an archive contains the code of a TorchScript program."""
    return any("/code/" in member.filename for member in found)


def is_data(found: Sequence[zipfile.ZipInfo]) -> bool:
    """Return whether an archive was written by `torch.save`."""
    return any(member.filename.rpartition("/")[2] == "data.pkl" for member in found)


def refuse_checkpoint(path: Path, file: IO[bytes]) -> None:
    """Reject a torch file where an ONNX model is expected; name the command that exports it.

    Args:
        path: Path of the file, for messages.
        file: The opened file, or its content.
    """
    found = members(file)
    file.seek(0)
    if is_program(found):
        kind, trust = "a TorchScript program", ["--trust-code"]
    elif is_data(found) or file.read(len(_PICKLE_MAGIC)) == _PICKLE_MAGIC:
        kind, trust = "a PyTorch checkpoint", []
    else:
        return
    command = shlex.join(
        [
            "model_tools",
            "export",
            str(path),
            "--config",
            "network.yaml",
            "--output",
            "policy.onnx",
            *trust,
        ]
    )
    raise ToolError(
        f"{path}: expected an ONNX model, found {kind}; convert it, with its layer sizes in "
        f"network.yaml: {command}"
    )
