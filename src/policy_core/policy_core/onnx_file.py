# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Check that an ONNX file contains all its weights, and declares control flow.

The hash of the file does not cover external files, and a loop may never end.

Runtimes read external weights from wherever the model specifies, relative to the working directory.
Protobuf has many encodings of the same message, so a byte search cannot find such references
reliably. Therefore, this module walks the wire format, skipping weights without copying them.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from policy_core.errors import BackendError, Problem

LARGEST_BYTES = (1 << 31) - 1
"""Maximum size of a protobuf message."""
MOST_FIELDS = 2_000_000
"""Maximum number of fields to walk, which takes about a second; each weight array is one field."""
DEEPEST = 100
"""Maximum nesting depth, which is also protobuf's own limit."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class _Message(NamedTuple):
    """Field numbers of an ONNX message: `leaves`, and fields with possible weights (`inside`)."""

    name: str
    leaves: frozenset[int]
    inside: Mapping[int, str]


def _message(name: str, leaves: str, **inside: str) -> tuple[str, _Message]:
    """Return a named message; leaf fields are given as `1-3 5`, nested messages as f7="Graph"."""
    numbers = set[int]()
    for part in leaves.split():
        first, _, last = part.partition("-")
        numbers |= set(range(int(first), int(last or first) + 1))
    return name, _Message(name, frozenset(numbers), {int(k[1:]): v for k, v in inside.items()})


# From onnx.proto up to IR version 13. Unknown fields are refused: a runtime that knows such a field
# may read weights from it.
_MESSAGES = dict(
    (
        _message("Model", "1-6 8 14 26", f7="Graph", f20="Training", f25="Function"),
        _message("Training", "3 4", f1="Graph", f2="Graph"),
        _message("Function", "1 4-6 8-10 12-14", f7="Node", f11="Attribute"),
        _message("Graph", "2 10-14 16", f1="Node", f5="Tensor", f15="Sparse"),
        _message("Node", "1-4 6-10", f5="Attribute"),
        _message(
            "Attribute",
            "1-4 7-9 13-15 20 21",
            f5="Tensor",
            f6="Graph",
            f10="Tensor",
            f11="Graph",
            f22="Sparse",
            f23="Sparse",
        ),
        _message("Sparse", "3", f1="Tensor", f2="Tensor"),
        _message("Tensor", "1-12 16"),
    )
)
_EXTERNAL_DATA, _DATA_LOCATION = 13, 14
"""Tensor fields: the location of external values, and whether the values are external."""


def require_whole(file: Path, model: bytes) -> None:
    """Raise an error unless a model contains all its weights, however a runtime parses the model.

    Args:
        file: Path of the model, for messages.
        model: Content of the model.

    Raises:
        BackendError: Some weights are in an external file, or the file is not an ONNX model.
    """
    if problem := find_model_problem(file, model):
        raise BackendError(str(problem))


def require_declared(file: Path, model: bytes, control_flow: str | None) -> None:
    """Raise an error unless a model is whole, and the contract declares its control flow.

    Args:
        file: Path of the model, for messages.
        model: Content of the model.
        control_flow: Declaration in the contract; None if there is none.

    Raises:
        BackendError: As for `require_whole`, or the model branches or loops, which is undeclared.
    """
    if problem := find_model_problem(file, model, is_declared=control_flow is not None):
        raise BackendError(str(problem))


def find_model_problem(file: Path, model: bytes, *, is_declared: bool = True) -> Problem | None:
    """Return why to refuse a model (see `require_whole` and `require_declared`); None if it fits.

    Args:
        file: Path of the model, for messages.
        model: Content of the model.
        is_declared: Whether the contract declares control flow. Otherwise, a node with a graph of
            its own is a problem: every operator that branches or loops (If, Loop, Scan) has one.
    """
    try:
        is_whole, has_subgraph = _walk(model)
    except (ValueError, IndexError) as error:
        return Problem(
            file=str(file),
            expected="an ONNX model",
            found=_found(error),
            remedy="copy or export it again",
        )
    if is_whole and has_subgraph and not is_declared:
        return Problem(
            file=str(file),
            expected="no control flow, or its declaration (control_flow next to the file's sha256)",
            found="a node with a graph of its own, such as If, Loop or Scan, which may never end",
            remedy="`model_tools complete` measures and declares it; for a chunk policy, write it",
        )
    if is_whole:
        return None
    return Problem(
        file=str(file),
        expected="all weights in this file",
        found="some in an external file, which no hash covers",
        remedy="on a machine with the onnx package, this command merges them: "
        f"{merge_command(file)} ; the contract then needs the sha256 of the new file",
    )


def merge_command(model: Path) -> str:
    """Return the command that merges external weights into a new file in the working directory."""
    merged = f"{model.stem}_merged{model.suffix}"
    return (
        'python3 -c "import onnx, sys; onnx.save(onnx.load(sys.argv[1]), sys.argv[2])" '
        f"{shlex.join([str(model), merged])}"
    )


def _found(error: Exception) -> str:
    return "a file that ends too early" if isinstance(error, IndexError) else str(error)


def _walk(model: bytes) -> tuple[bool, bool]:
    """Walk all messages that may contain tensors.

    Returns:
        Whether no tensor has external values, and whether any node has a graph of its own (if no
        tensor has them).
    """
    open_parts, fields, has_subgraph = [(_MESSAGES["Model"], 0, len(model), 1)], 0, False
    while open_parts:
        message, at, end, depth = open_parts.pop()
        if depth > DEEPEST:
            raise ValueError(f"more than {DEEPEST} levels of nesting")
        while at < end:
            fields += 1
            if fields > MOST_FIELDS:
                raise ValueError(f"more than {MOST_FIELDS} fields besides weights")
            tag, at = _varint(model, at)
            number, wire = tag >> 3, tag & 7
            begin, at, value = _skip(model, at, wire)
            if number in message.inside and wire == _BYTES:
                if at > end:
                    raise IndexError
                part = message.inside[number]
                has_subgraph = has_subgraph or (message.name, part) == ("Attribute", "Graph")
                open_parts.append((_MESSAGES[part], begin, at, depth + 1))
            elif number not in message.leaves and number not in message.inside:
                if message.name != "Tensor" or number not in (_EXTERNAL_DATA, _DATA_LOCATION):
                    raise ValueError(
                        f"field {number} in a {message.name}, which no known version of ONNX has"
                    )
                if number == _EXTERNAL_DATA or value:
                    return False, has_subgraph
        if at != end:
            raise IndexError
    return True, has_subgraph


def _skip(model: bytes, at: int, wire: int) -> tuple[int, int, int]:
    """Return the start and end of a field's content, and the field's value if it is an integer.

    For other types, the value is 1, which is safe wherever a number is expected.
    """
    if wire == _VARINT:
        value, end = _varint(model, at)
        return at, end, value
    if wire == _BYTES:
        size, at = _varint(model, at)
        return at, at + size, 1
    if wire in (_FIXED64, _FIXED32):
        return at, at + (8 if wire == _FIXED64 else 4), 1
    raise ValueError(f"protobuf's wire type {wire}, which ONNX does not use")


def _varint(model: bytes, at: int) -> tuple[int, int]:
    """Return a number of at most 64 bits, in any encoding, and the index after it.

    Raises:
        IndexError: The model ends within the number.
        ValueError: The number is longer than ten bytes, protobuf's limit.
    """
    value = model[at]
    if value < 0x80:
        return value, at + 1
    value &= 0x7F
    for place in range(1, 10):
        byte = model[at + place]
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    raise ValueError("a number longer than protobuf allows")
