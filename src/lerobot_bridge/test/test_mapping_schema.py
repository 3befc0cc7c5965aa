# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The JSON Schema of mappings: current, and of one opinion with the reader."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import jsonschema
import pytest
import yaml

from lerobot_bridge.mapping_file import MAPPINGS, mapping_schema, shipped

from .mapping_cases import MAPPING, rolling_arm_with
from .test_mapping import OF_ONE_FIELD, Case

SCHEMA = MAPPINGS / "mapping.schema.json"


@pytest.fixture(scope="module")
def mapping_validator() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(mapping_schema())
    return jsonschema.Draft202012Validator(mapping_schema())


def test_committed_schema_is_current() -> None:
    committed = json.loads(SCHEMA.read_text(encoding="utf-8"))

    assert committed == mapping_schema(), "run python -m tools.write_schema"


@pytest.mark.parametrize("file", shipped().values(), ids=lambda file: file.stem)
def test_shipped_mapping_is_accepted_and_names_its_schema(
    file: Path, mapping_validator: jsonschema.Draft202012Validator
) -> None:
    text = file.read_text(encoding="utf-8")

    mapping_validator.validate(yaml.safe_load(text))
    assert text.splitlines()[0].endswith(f"$schema={SCHEMA.name}")


def test_mapping_without_fault_is_accepted(
    mapping_validator: jsonschema.Draft202012Validator,
) -> None:
    mapping_validator.validate(MAPPING)


@pytest.mark.parametrize("case", OF_ONE_FIELD, ids=lambda case: case[1].partition(":")[0])
def test_wrong_value_is_marked_at_its_place(
    mapping_validator: jsonschema.Draft202012Validator, case: Case
) -> None:
    changes, message = case

    assert message.partition(":")[0] in _places_of_errors(
        mapping_validator.iter_errors(rolling_arm_with(**changes))
    )


def _places_of_errors(errors: Iterable[jsonschema.ValidationError]) -> Iterator[str]:
    for error in errors:
        path = [f"[{x}]" if isinstance(x, int) else f".{x}" for x in error.absolute_path]
        yield "".join(path).removeprefix(".")
        yield from _places_of_errors(error.context or ())
