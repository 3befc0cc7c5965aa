# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A model with weights in a second file is refused, however protobuf lets it be written."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # carries no types
from hypothesis import given
from onnx import TensorProto

from policy_core.errors import BackendError
from policy_core.interfaces import TensorSpec
from policy_core.onnx_file import MOST_FIELDS, find_model_problem, require_whole
from policy_inference.backends.onnx import OnnxBackend
from policy_inference.testing.models import save_linear
from testkit.fuzzing import bounded, changed_bytes, examples
from testkit.wording import check_wording, refusal

from .onnx_corpus import (
    ATTACKS,
    BROKEN,
    ENCODINGS,
    PATHS,
    inside,
    model_bytes,
    part,
    problem_text,
    varint,
)

FILE = Path("model.onnx")
SECOND_FILE = problem_text(next(iter(ATTACKS.values()))).partition(": ")[2]


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

    with pytest.raises(BackendError) as caught:
        OnnxBackend(
            file, [TensorSpec(name="obs", shape=(1, 4))], [TensorSpec(name="actions", shape=(1, 4))]
        )
    assert SECOND_FILE in str(caught.value)


def test_a_model_with_a_second_file_is_refused_with_the_reason() -> None:
    check_wording(SECOND_FILE)


def ways_to_tensors(kind: Any, seen: tuple[str, ...] = ()) -> Iterator[tuple[Any, list[Any]]]:
    """Yield each way of fields from a message to a tensor, without going in circles."""
    for field in kind.fields:
        if field.message_type is None or field.full_name in seen:
            continue
        if field.message_type.name == "TensorProto":
            yield kind, [field]
        else:
            for _, rest in ways_to_tensors(field.message_type, (*seen, field.full_name)):
                yield kind, [field, *rest]


WAYS = [fields for _, fields in ways_to_tensors(onnx.ModelProto.DESCRIPTOR)]


@pytest.mark.parametrize(
    "way",
    random.Random(0).sample(WAYS, min(200, len(WAYS))),
    ids=lambda way: ".".join(field.name for field in way),
)
def test_a_tensor_is_found_wherever_onnx_lets_one_be(way: list[Any]) -> None:
    """Ways are from ONNX's own description, so that a field of a newer one is found here."""
    content = ENCODINGS["as protobuf writes it"]
    found = problem_text(inside(content, [field.number for field in reversed(way)]))
    assert found.endswith(SECOND_FILE)


@pytest.mark.parametrize("name", PATHS)
def test_every_field_of_onnx_is_known(name: str) -> None:
    for field in getattr(onnx, name).DESCRIPTOR.fields:
        if field.name in ("external_data", "data_location"):
            continue
        text = field.message_type or field.type in (field.TYPE_BYTES, field.TYPE_STRING)
        content = part(field.number, b"") if text else varint(field.number << 3) + b"\0"
        require_whole(FILE, inside(content, PATHS[name]))


@pytest.mark.parametrize(
    "content",
    [
        b"\x08\x01" * (MOST_FIELDS + 1),
        BROKEN["cut off"],
        BROKEN["a part beyond its whole"],
        BROKEN["endless number"],
        BROKEN["group"],
        BROKEN["a field that no onnx has"],
    ],
    ids=["many", *BROKEN],
)
def test_what_is_no_model_is_one_error(content: bytes) -> None:
    with refusal(BackendError):
        require_whole(FILE, content)


def ways_to_subgraphs() -> list[list[Any]]:
    """Return ways of fields from a model to the graph of a node, each field at most once."""
    ways, begun = list[list[Any]](), [(onnx.ModelProto.DESCRIPTOR, list[Any]())]
    while begun:
        kind, way = begun.pop()
        for field in kind.fields:
            if field.message_type is None or sum(one is field for one in way):
                continue
            if kind.name == "AttributeProto" and field.message_type.name == "GraphProto":
                ways.append([*way, field])
            begun.append((field.message_type, [*way, field]))
    return ways


SUBGRAPHS = ways_to_subgraphs()


@pytest.mark.parametrize("way", SUBGRAPHS, ids=lambda way: ".".join(field.name for field in way))
def test_the_graph_of_a_node_is_found_wherever_onnx_lets_one_be(way: list[Any]) -> None:
    """Every operator that branches or loops has one, whatever its name."""
    content = inside(b"", [field.number for field in reversed(way)])
    assert find_model_problem(FILE, content) is None
    problem = find_model_problem(FILE, content, is_declared=False)
    assert problem is not None
    assert problem.expected.startswith("no control flow")


def test_a_model_without_control_flow_needs_no_declaration() -> None:
    assert find_model_problem(FILE, inside(b"", [7]), is_declared=False) is None
    check_wording(find_model_problem(FILE, inside(b"", [6, 5, 1, 7]), is_declared=False))


def test_messages_in_messages_have_an_end() -> None:
    content = b""
    for _ in range(200):
        content = part(1, part(5, part(6, content)))

    with refusal(BackendError):
        require_whole(FILE, model_bytes(content))


def test_an_ordinary_model_is_whole(tmp_path: Path) -> None:
    file = save_linear(tmp_path / "linear.onnx", 4, 4)
    require_whole(file, file.read_bytes())


def external(message: Any) -> bool:
    """Whether protobuf finds a tensor that is elsewhere."""
    if isinstance(message, TensorProto):
        return bool(message.data_location)
    return any(
        external(each)
        for field, value in message.ListFields()
        if field.message_type
        for each in ([value] if hasattr(value, "ListFields") else value)
    )


@pytest.mark.slow
@pytest.mark.fuzz
@given(changed_bytes(*ATTACKS.values()))
@examples(10)
def test_no_changed_model_hides_weights_from_the_check(content: bytes) -> None:
    """Of models that are refused: where protobuf finds weights outside, so do we."""
    try:
        there = external(onnx.load_model_from_string(content))
    except DecodeError:
        there = False
    try:
        with bounded():
            require_whole(FILE, content)
    except BackendError:
        return
    assert not there, content.hex()
