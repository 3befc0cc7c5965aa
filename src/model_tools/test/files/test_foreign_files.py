# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Files of others are read as data and refused where they are none; a contract keeps its text."""

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import yaml

from model_tools.errors import ToolError
from model_tools.files.contract_text import set_section
from model_tools.files.foreign import load_foreign_yaml
from model_tools.files.onnx_model import read_onnx
from testkit.wording import refusal

from ..tiny_bundle import save_model, weights


@pytest.fixture
def foreign_yaml(tmp_path: Path) -> Path:
    return tmp_path / "env.yaml"


def test_tuples_slices_and_anchors_are_read_as_data(foreign_yaml: Path) -> None:
    foreign_yaml.write_text(
        "a: &a !!python/tuple [1, 2.5]\nb: *a\n"
        "c: !!python/object/apply:builtins.slice [null, 3, null]\nd: 1e-3\n"
        "e: 2026-11-20\n"
    )
    assert load_foreign_yaml(foreign_yaml) == {
        "a": [1, 2.5],
        "b": [1, 2.5],
        "c": slice(None, 3, None),
        "d": 1e-3,
        "e": "2026-11-20",
    }


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb: !!python/object/apply:os.system [touch owned]\n",
        "a: !custom 3\n",
        "a: !!python/tuple {b: 1}\n",
        "a: !!python/object/apply:builtins.slice [x]\n",
        "a: [1, 2\n",
        "[" * 5000,
        "a: 1\nb: 2\na: 3\n",
        "a: &a [*a]\n",
    ],
)
def test_anything_else_is_refused_with_its_line(foreign_yaml: Path, text: str) -> None:
    foreign_yaml.write_text(text)
    with refusal(ToolError):
        load_foreign_yaml(foreign_yaml)


def test_bytes_that_are_no_text_are_refused(foreign_yaml: Path) -> None:
    foreign_yaml.write_bytes(b"\xff\xfe\x00")
    with refusal(ToolError):
        load_foreign_yaml(foreign_yaml)


A_SECTION = "a:\n  z: 1\n\nc: 3\n"
FIRST = "a:\n  b:\n    x: 1\n  # z\n  z: 1\n"


@pytest.mark.parametrize(
    ("before", "key", "after"),
    [
        ("a: 1\n", "b", "a: 1\n\nb: {x: 2}\n"),
        ("b:\n  x: 1\n\n# c\nc: 3\n", "b", "b: {x: 2}\n\n# c\nc: 3\n"),
        (A_SECTION, "a.b", "a:\n  z: 1\n  b: {x: 2}\n\nc: 3\n"),
        (FIRST, "a.b", "a:\n  b: {x: 2}\n  # z\n  z: 1\n"),
        ("b: {x: 1,\n    y: 2}\nc: 3\n", "b", "b: {x: 2}\nc: 3\n"),
    ],
    ids=["added", "replaced", "added to a section", "replaced in a section", "over two lines"],
)
def test_a_section_is_set_and_the_rest_stays(before: str, key: str, after: str) -> None:
    assert set_section(before, key, {"x": 2}) == after
    yaml.safe_load(after)


def test_a_word_is_set_as_a_section_is_but_nothing_in_a_missing_section() -> None:
    text = set_section("a: 1\nversion: '0.2.0'\nb: 2\n", "version", "0.0.0")
    assert yaml.safe_load(text) == {"a": 1, "version": "0.0.0", "b": 2}
    with refusal(ValueError):
        set_section("c: 3\n", "a.b", {"x": 2})


@pytest.fixture
def saved_model(tmp_path: Path) -> Path:
    save_model(tmp_path / "policy.onnx", weights())
    return tmp_path / "policy.onnx"


@pytest.mark.parametrize(
    "damage",
    [
        lambda graph: setattr(graph.initializer[0], "data_type", 99),
        lambda graph: graph.initializer[0].dims.append(2),
        lambda graph: setattr(graph.input[0].type.tensor_type, "elem_type", 99),
    ],
    ids=["type", "shape", "input"],
)
def test_a_damaged_model_is_refused(
    saved_model: Path, damage: Callable[[onnx.GraphProto], object]
) -> None:
    model = onnx.load(saved_model)
    damage(model.graph)
    onnx.save(model, str(saved_model))
    with refusal(ToolError):
        read_onnx(saved_model).require_finite()
