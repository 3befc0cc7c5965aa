# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The JSON Schema for editors: current, and of one opinion with the reader."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from policy_inference.bundle.bundle import SetBundle
from policy_inference.bundle.editor_schema import contract_schema, set_schema
from policy_inference.bundle.load import load_bundle

from . import test_chunk_contract as chunk
from .editing import MISSING, Rejection, any_contract, case_id, place, set_key
from .test_contract import (
    OUT_OF_BOUNDS,
    REQUIRED_KEYS,
    SECTIONS,
    WRONG_LENGTHS,
    WRONG_TYPES,
    WRONG_WORDS,
)

Edit = Callable[[Mapping[str, object]], Path]

BUNDLES = Path(__file__).resolve().parents[2] / "config" / "bundles"
CONTRACTS = sorted(BUNDLES.glob("*/policy.yaml"))
# In JSON 1.0 is a whole number, every key is text, and nothing is NaN or infinite; and Python's
# jsonschema lets a pattern's $ stand before a line end.
BEYOND_JSON = {
    "schema_version=1.0",
    "observations.obs.terms.5.size=2.0",
    "chunk.size=8.0",
    "joints.stiffness={1: 30.0}",
    r"name='two_joints\n'",
}
WRONG_VALUES, WRONG_CHUNK_VALUES = (
    [case for case in cases if "finite" not in case[2] and case_id(case) not in BEYOND_JSON]
    for cases in (
        [*WRONG_TYPES, *OUT_OF_BOUNDS, *WRONG_LENGTHS, *WRONG_WORDS],
        [*chunk.WRONG_TYPES, *chunk.OUT_OF_BOUNDS, *chunk.WRONG_LENGTHS, *chunk.WRONG_WORDS],
    )
)


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(contract_schema())


def test_committed_schema_is_current() -> None:
    committed = json.loads((BUNDLES / "policy.schema.json").read_text(encoding="utf-8"))

    assert committed == contract_schema(), "run python -m tools.write_schema"


def test_committed_schema_of_sets_is_current() -> None:
    committed = json.loads((BUNDLES / "set.schema.json").read_text(encoding="utf-8"))

    assert committed == set_schema(), "run python -m tools.write_schema"
    jsonschema.Draft202012Validator.check_schema(committed)


@pytest.mark.parametrize("file", sorted(BUNDLES.glob("*/set.yaml")), ids=lambda f: f.parent.name)
def test_committed_sets_are_accepted_by_loader_and_schema(file: Path) -> None:
    assert load_bundle(file.parent, kind=SetBundle).contract.name == file.parent.name
    jsonschema.Draft202012Validator(set_schema()).validate(yaml.safe_load(file.read_text("utf-8")))


def test_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(contract_schema())


def test_committed_bundles_are_found() -> None:
    assert {file.parent.name for file in CONTRACTS} >= {
        "go2_walk",
        "lite3_deeprobotics",
        "lite3_walk",
    }


@pytest.mark.parametrize("file", CONTRACTS, ids=lambda file: file.parent.name)
def test_committed_contract_is_accepted_by_reader_and_schema(
    file: Path, validator: jsonschema.Draft202012Validator
) -> None:
    assert any_contract(file).name == file.parent.name
    validator.validate(yaml.safe_load(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize("file", CONTRACTS, ids=lambda file: file.parent.name)
def test_committed_contract_names_its_schema_for_editors(file: Path) -> None:
    name = file.read_text(encoding="utf-8").splitlines()[0].partition("$schema=")[2]

    assert (file.parent / name).resolve() == (BUNDLES / "policy.schema.json").resolve()


@pytest.mark.parametrize("kind", ["joint", "chunk"])
def test_contract_of_the_guide_is_accepted_by_reader_and_schema(
    tmp_path: Path, validator: jsonschema.Draft202012Validator, kind: str
) -> None:
    guide = (Path(__file__).resolve().parents[4] / "docs" / "bundle.md").read_text(encoding="utf-8")
    examples = [block.partition("```")[0] for block in guide.split("```yaml\n")[1:]]
    (example,) = (block for block in examples if f"kind: {kind}\n" in block)
    file = tmp_path / "policy.yaml"
    file.write_text(example.replace("<64 hex digits>", "'" + "0" * 64 + "'"), encoding="utf-8")

    assert any_contract(file).kind == kind
    validator.validate(yaml.safe_load(file.read_text(encoding="utf-8")))


def test_contract_without_fault_is_accepted(
    parsed: dict[str, Any], validator: jsonschema.Draft202012Validator
) -> None:
    validator.validate(parsed)


@pytest.mark.parametrize("case", WRONG_VALUES, ids=case_id)
def test_wrong_value_is_marked_at_its_place(
    validator: jsonschema.Draft202012Validator, wrong: Callable[..., object], case: Rejection
) -> None:
    key, value, _ = case

    assert place(key) in _places(validator.iter_errors(wrong(key, value)))


@pytest.mark.parametrize("key", REQUIRED_KEYS)
def test_missing_key_is_marked(
    validator: jsonschema.Draft202012Validator, wrong: Callable[..., object], key: str
) -> None:
    messages = _messages(validator.iter_errors(wrong(key, MISSING)))

    assert f"'{key.rpartition('.')[2]}' is a required property" in messages


@pytest.mark.parametrize("section", ["", *SECTIONS])
def test_unknown_key_is_marked(
    validator: jsonschema.Draft202012Validator, wrong: Callable[..., object], section: str
) -> None:
    messages = _messages(validator.iter_errors(wrong(f"{section}.surprise".lstrip("."), 1)))

    assert any("'surprise' was unexpected" in message for message in messages)


def test_chunk_contract_without_fault_is_accepted(
    chunk_parsed: dict[str, Any], validator: jsonschema.Draft202012Validator
) -> None:
    validator.validate(chunk_parsed)


@pytest.mark.parametrize("case", WRONG_CHUNK_VALUES, ids=case_id)
def test_wrong_value_of_a_chunk_policy_is_marked_at_its_place(
    validator: jsonschema.Draft202012Validator, wrong_chunk: Callable[..., object], case: Rejection
) -> None:
    key, value, _ = case

    assert place(key) in _places(validator.iter_errors(wrong_chunk(key, value)))


@pytest.mark.parametrize("key", chunk.REQUIRED_KEYS)
def test_missing_key_of_a_chunk_policy_is_marked(
    validator: jsonschema.Draft202012Validator, wrong_chunk: Callable[..., object], key: str
) -> None:
    messages = _messages(validator.iter_errors(wrong_chunk(key, MISSING)))

    assert f"'{key.rpartition('.')[2]}' is a required property" in messages


@pytest.mark.parametrize("section", ["", *chunk.SECTIONS])
def test_unknown_key_of_a_chunk_policy_is_marked(
    validator: jsonschema.Draft202012Validator, wrong_chunk: Callable[..., object], section: str
) -> None:
    messages = _messages(validator.iter_errors(wrong_chunk(f"{section}.surprise".lstrip("."), 1)))

    assert any("'surprise' was unexpected" in message for message in messages)


@pytest.mark.parametrize("kind", ["act", "", None, 2])
def test_kind_that_there_is_not_is_marked(
    validator: jsonschema.Draft202012Validator, wrong_chunk: Callable[..., object], kind: object
) -> None:
    assert "kind" in _places(validator.iter_errors(wrong_chunk("kind", kind)))


@pytest.fixture
def wrong(parsed: dict[str, Any]) -> Callable[[str, object], object]:
    """Return the contract with one key changed."""

    return _changer(parsed)


@pytest.fixture
def wrong_chunk(chunk_parsed: dict[str, Any]) -> Callable[[str, object], object]:
    """Return the chunk policy's contract with one key changed."""
    return _changer(chunk_parsed)


def _changer(parsed: dict[str, Any]) -> Callable[[str, object], object]:
    def change(key: str, value: object) -> object:
        contract = json.loads(json.dumps(parsed))
        set_key(contract, key, value)
        return contract

    return change


def _places(errors: Iterable[jsonschema.ValidationError]) -> Iterator[str]:
    for error in errors:
        path = [f"[{x}]" if isinstance(x, int) else f".{x}" for x in error.absolute_path]
        yield "".join(path).removeprefix(".")
        yield from _places(error.context or ())


def _messages(errors: Iterable[jsonschema.ValidationError]) -> Iterator[str]:
    for error in errors:
        yield error.message
        yield from _messages(error.context or ())
