# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A model with weights in a second file is refused, however protobuf lets it be written."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # carries no types
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from policy_inference.backends.onnx import OnnxBackend
from policy_inference.errors import BackendError
from policy_inference.interfaces import TensorSpec
from policy_inference.onnx_file import MOST_FIELDS, require_whole
from policy_inference.testing.models import save_linear

FILE = Path("model.onnx")
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
    return part(1, part(2, b"w") + part(4, b"Constant") + part(5, attribute)) + graph()


def graph() -> bytes:
    """Return actions = obs @ w without w."""
    obs, actions = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4])
                    for name in ("obs", "actions"))
    product = helper.make_node("MatMul", ["obs", "w"], ["actions"])
    content: bytes = helper.make_graph([product], "g", [obs], [actions]).SerializeToString()
    return content


def model(*graphs: bytes) -> bytes:
    """Return a model; several graphs are merged to one by a parser."""
    head = helper.make_model(onnx.GraphProto(), ir_version=9,
                             opset_imports=[helper.make_opsetid("", 17)])
    head.ClearField("graph")
    content: bytes = head.SerializeToString()
    return content + b"".join(part(7, one) for one in graphs)


ATTACKS = {
    **{f"initializer: {name}": model(graph() + part(5, tensor))
       for name, tensor in ENCODINGS.items()},
    **{f"constant: {name}": model(in_constant(tensor)) for name, tensor in ENCODINGS.items()},
    "constant in two parts": model(in_constant(ENCODINGS["as protobuf writes it"], len(TENSOR))),
    "graph in two parts": model(graph(), part(5, ENCODINGS["as protobuf writes it"])),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_weights_in_a_second_file_do_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """They were found by a regular expression, which knew one encoding of many."""
    monkeypatch.chdir(tmp_path)  # where the runtime would find them
    np.full((4, 4), 7, np.float32).tofile("weights.bin")
    file = tmp_path / "model.onnx"
    file.write_bytes(ATTACKS[name])
    assert onnx.load_model_from_string(ATTACKS[name]).graph.node  # as any parser sees it

    with pytest.raises(BackendError, match="no hash covers"):
        OnnxBackend(file, [TensorSpec(name="obs", shape=(1, 4))],
                    [TensorSpec(name="actions", shape=(1, 4))])


def messages(kind: Any, seen: tuple[str, ...] = ()) -> Iterator[tuple[Any, list[Any]]]:
    """Yield each way of fields from a message to a tensor, without going in circles."""
    for field in kind.fields:
        if field.message_type is None or field.full_name in seen:
            continue
        if field.message_type.name == "TensorProto":
            yield kind, [field]
        else:
            for _, rest in messages(field.message_type, (*seen, field.full_name)):
                yield kind, [field, *rest]


WAYS = [fields for _, fields in messages(onnx.ModelProto.DESCRIPTOR)]
PLAIN = onnx.load_model_from_string(model(graph() + part(5, TENSOR)))


@pytest.mark.parametrize("way", random.Random(0).sample(WAYS, min(200, len(WAYS))),
                         ids=lambda way: ".".join(field.name for field in way))
def test_a_tensor_is_found_wherever_onnx_lets_one_be(way: list[Any]) -> None:
    """Ways are from ONNX's own description, so that a field of a newer one is found here."""
    content = ENCODINGS["as protobuf writes it"]
    for field in reversed(way):
        content = part(field.number, content)

    with pytest.raises(BackendError, match="no hash covers"):
        require_whole(FILE, PLAIN.SerializeToString() + content)


@pytest.mark.parametrize("name", ["ModelProto", "GraphProto", "NodeProto", "AttributeProto",
                                  "TensorProto", "FunctionProto", "SparseTensorProto",
                                  "TrainingInfoProto"])
def test_every_field_of_onnx_is_known(name: str) -> None:
    way = {"ModelProto": [], "GraphProto": [7], "NodeProto": [1, 7], "AttributeProto": [5, 1, 7],
           "TensorProto": [5, 7], "FunctionProto": [25], "SparseTensorProto": [15, 7],
           "TrainingInfoProto": [20]}[name]
    for field in getattr(onnx, name).DESCRIPTOR.fields:
        if field.name in ("external_data", "data_location"):
            continue
        text = field.message_type or field.type in (field.TYPE_BYTES, field.TYPE_STRING)
        content = part(field.number, b"") if text else varint(field.number << 3) + b"\0"
        for number in way:
            content = part(number, content)
        require_whole(FILE, PLAIN.SerializeToString() + content)


def test_a_field_that_no_onnx_has_is_refused() -> None:
    with pytest.raises(BackendError, match="the field 99 of a Graph, which no ONNX has"):
        require_whole(FILE, model(graph() + part(99, b"")))


@pytest.mark.parametrize(("content", "found"), [
    (b"\x08\x01" * (MOST_FIELDS + 1), "more than 2000000 fields"),
    (b"\x3a\xff\xff\xff\xff\x07", "a file that ends too early"),
    (b"\x3a\x05\x0a\x7f\0\0\0" + b"\x08\x01" * 100, "ends too early"),
    (b"\x08" + b"\xff" * 11, "a number longer than"),
    (b"\x0b\x0c", "wire type 3"),
], ids=["many", "cut off", "a part beyond its whole", "endless number", "group"])  # fmt: skip
def test_what_is_no_model_is_one_error(content: bytes, found: str) -> None:
    with pytest.raises(BackendError, match=f"model.onnx: expected an ONNX model, found .*{found}"):
        require_whole(FILE, content)


def test_messages_in_messages_have_an_end() -> None:
    content = b""
    for _ in range(200):
        content = part(1, part(5, part(6, content)))

    with pytest.raises(BackendError, match="more than 100 messages in each other"):
        require_whole(FILE, model(content))


def test_an_ordinary_model_is_whole(tmp_path: Path) -> None:
    file = save_linear(tmp_path / "linear.onnx", 4, 4)
    require_whole(file, file.read_bytes())


def external(message: Any) -> bool:
    """Whether protobuf finds a tensor that is elsewhere."""
    if isinstance(message, TensorProto):
        return bool(message.data_location)
    return any(external(each) for field, value in message.ListFields() if field.message_type
               for each in ([value] if hasattr(value, "ListFields") else value))


def hold_against_protobuf(seed: int, rounds: int) -> None:
    """Change bytes of models that are refused: where protobuf finds weights outside, so do we."""
    chance = random.Random(seed)
    sources = list(ATTACKS.values())
    for _ in range(rounds):
        content = bytearray(chance.choice(sources))
        for _ in range(chance.randint(0, 3)):
            at = chance.randrange(len(content))
            match chance.randrange(3):
                case 0:
                    content[at] = chance.choice((0, 1, 0x80, 0xFF, content[at] ^ 1 << at % 8))
                case 1:
                    del content[at:at + chance.randint(1, 4)]
                case _:
                    content[at:at] = chance.randbytes(chance.randint(1, 3))
        try:
            there = external(onnx.load_model_from_string(bytes(content)))
        except DecodeError:
            there = False
        try:
            require_whole(FILE, bytes(content))
        except BackendError:
            continue
        assert not there, bytes(content).hex()


@given(st.integers(0, 1 << 32))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_no_changed_model_hides_weights_from_the_check(seed: int) -> None:
    hold_against_protobuf(seed, 50)


@pytest.mark.acceptance
def test_no_model_of_two_minutes_hides_weights_from_the_check() -> None:
    began_s, seed = time.monotonic(), 0
    while time.monotonic() - began_s < 120:
        hold_against_protobuf(seed, 1000)
        seed += 1
