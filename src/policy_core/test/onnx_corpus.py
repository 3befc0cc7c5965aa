#!/usr/bin/env python3
# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""ONNX models that hide weights in a second file, and what is no model: `onnx_corpus.py FILE`.

As a program it writes models with what `require_whole` says of them, for the tests of the C++
client. Each is a line of text, empty for a model that is whole; its length, on a line; the model.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from policy_core.errors import BackendError
from policy_core.onnx_file import require_whole

BYTES, VARINT = 2, 0


def varint(value: int, padding: int = 0) -> bytes:
    """Return a number as protobuf writes it, with bytes that add nothing."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    if padding:
        written[-1] |= 0x80
        written += b"\x80" * (padding - 1) + b"\0"
    return bytes(written)


def part(number: int, content: bytes, padding: int = 0) -> bytes:
    """Return a field of bytes."""
    return varint(number << 3 | BYTES) + varint(len(content), padding) + content


KEY, VALUE = part(1, b"location"), part(2, b"weights.bin")
OUTSIDE = varint(14 << 3 | VARINT) + varint(1)
VALUES = b"".join(varint(1 << 3) + varint(4) for _ in range(2)) + varint(2 << 3) + varint(1)
TENSOR = VALUES + part(8, b"w")
ENCODINGS = {
    "as protobuf writes it": TENSOR + part(13, KEY + VALUE) + OUTSIDE,
    "longer numbers": TENSOR + part(13, part(1, b"location", 1) + VALUE, 3) + OUTSIDE,
    "longer tags": TENSOR + b"\xea\x80\x00" + varint(len(KEY + VALUE)) + KEY + VALUE + OUTSIDE,
    "value first": TENSOR + part(13, VALUE + KEY) + OUTSIDE,
    "place first": OUTSIDE + part(13, KEY + VALUE) + TENSOR,
    "with what is unknown": TENSOR + part(13, part(99, b"?") + KEY + VALUE) + OUTSIDE,
    "key written twice": TENSOR + part(13, part(1, b"x") + KEY + VALUE) + OUTSIDE,
    "without a place": TENSOR + OUTSIDE,
}


def in_constant(tensor: bytes, cut: int | None = None) -> bytes:
    """Return a graph with a node Constant; a cut tensor is two fields, which are merged."""
    pieces = [tensor] if cut is None else [tensor[:cut], tensor[cut:]]
    values = b"".join(part(5, piece) for piece in pieces)
    attribute = part(1, b"value") + values + varint(20 << 3) + varint(4)
    return part(1, part(2, b"w") + part(4, b"Constant") + part(5, attribute)) + matmul_graph()


def matmul_graph() -> bytes:
    """Return actions = obs @ w without w."""
    obs, actions = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4])
        for name in ("obs", "actions")
    )
    product = helper.make_node("MatMul", ["obs", "w"], ["actions"])
    content: bytes = helper.make_graph([product], "g", [obs], [actions]).SerializeToString()
    return content


def model_bytes(*graphs: bytes) -> bytes:
    """Return a model; several graphs are merged to one by a parser."""
    head = helper.make_model(
        onnx.GraphProto(), ir_version=9, opset_imports=[helper.make_opsetid("", 17)]
    )
    head.ClearField("graph")
    content: bytes = head.SerializeToString()
    return content + b"".join(part(7, one) for one in graphs)


ATTACKS = {
    **{
        f"initializer: {name}": model_bytes(matmul_graph() + part(5, tensor))
        for name, tensor in ENCODINGS.items()
    },
    **{f"constant: {name}": model_bytes(in_constant(tensor)) for name, tensor in ENCODINGS.items()},
    "constant in two parts": model_bytes(
        in_constant(ENCODINGS["as protobuf writes it"], len(TENSOR))
    ),
    "graph in two parts": model_bytes(matmul_graph(), part(5, ENCODINGS["as protobuf writes it"])),
}
BROKEN = {
    "cut off": b"\x3a\xff\xff\xff\xff\x07",
    "a part beyond its whole": b"\x3a\x05\x0a\x7f\0\0\0" + b"\x08\x01" * 100,
    "endless number": b"\x08" + b"\xff" * 11,
    "group": b"\x0b\x0c",
    "a field that no onnx has": model_bytes(matmul_graph() + part(99, b"")),
}
PATHS = {
    "ModelProto": [],
    "GraphProto": [7],
    "NodeProto": [1, 7],
    "AttributeProto": [5, 1, 7],
    "TensorProto": [5, 7],
    "FunctionProto": [25],
    "SparseTensorProto": [15, 7],
    "TrainingInfoProto": [20],
}
"""To each message of ONNX: fields from itself to the model."""


def inside(content: bytes, way: list[int]) -> bytes:
    """Return a model with such content of a message."""
    for number in way:
        content = part(number, content)
    return model_bytes(matmul_graph() + part(5, TENSOR)) + content


def changed_model(chance: random.Random) -> bytes:
    """Return a model that hides weights, with some bytes changed."""
    content = bytearray(chance.choice([*ATTACKS.values()]))
    for _ in range(chance.randint(0, 3)):
        at = chance.randrange(len(content))
        match chance.randrange(3):
            case 0:
                content[at] = chance.choice((0, 1, 0x80, 0xFF, content[at] ^ 1 << at % 8))
            case 1:
                del content[at : at + chance.randint(1, 4)]
            case _:
                content[at:at] = chance.randbytes(chance.randint(1, 3))
    return bytes(content)


def corpus_models() -> Iterator[bytes]:
    """Yield all there are, each field of each message, and changed ones."""
    yield from ATTACKS.values()
    yield from BROKEN.values()
    for way in PATHS.values():
        for number in range(1, 40):
            yield inside(varint(number << 3) + b"\0", way)
            yield inside(part(number, b""), way)
            yield inside(part(number, part(5, part(5, ENCODINGS["place first"]))), way)
    chance = random.Random(0)
    for _ in range(2000):
        yield changed_model(chance)


def problem_text(content: bytes) -> str:
    """Return what is wrong with a model, less the remedy; empty: nothing."""
    try:
        require_whole(Path("model.onnx"), content)
    except BackendError as error:
        return str(error).partition(";")[0]
    return ""


if __name__ == "__main__":
    with Path(sys.argv[1]).open("wb") as file:
        for content in corpus_models():
            file.write(f"{problem_text(content)}\n{len(content)}\n".encode() + content)
