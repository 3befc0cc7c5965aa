# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The reader of contracts and the JSON Schema for editors accept the same, and name the same place.

Documents come from the committed schemas: one with every key, and for each key each single mistake
and each value at a bound.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema
import pytest
import yaml

from policy_core.bundle.chunk_contract import ChunkContract
from policy_core.bundle.contract import JointContract
from policy_core.bundle.editor_schema import contract_schema, set_schema
from policy_core.bundle.load import load_bundle
from policy_core.bundle.schema import Reader, json_schema
from policy_core.bundle.set_bundle import SetBundle
from policy_core.bundle.set_contract import SetFile

from .editing import any_contract

Schema = Mapping[str, Any]
BUNDLES = Path(__file__).resolve().parents[4] / "config" / "bundles"
CONTRACTS, SETS = (sorted(BUNDLES.glob(f"*/{name}.yaml")) for name in ("policy", "set"))
EDITOR_SCHEMAS = {"policy": contract_schema, "set": set_schema}
KINDS = {"joint": JointContract, "chunk": ChunkContract, "set": SetFile}
TEXTS = ("a", "1.0.0", "0" * 64, "2026-07-01", "scan/near")
NO_TEXTS = ("", "a\n", " a", "/a b", "Two Joints", "1.0")
every_kind = pytest.mark.parametrize("kind", KINDS)


class Variant(NamedTuple):
    """A document, the place of the only mistake in it or None, and whether JSON can express it."""

    value: Any
    place: str | None
    is_json: bool = True

    def inside(self, name: str | int, value: Any) -> Variant:
        """Return the variant as an entry of a document."""
        head = f"[{name}]" if isinstance(name, int) else name
        tail = self.place if not self.place or self.place.startswith("[") else f".{self.place}"
        place = None if self.place is None else f"{head}{tail}".removeprefix(".")
        return self._replace(value=value, place=place)


def whole_document(node: Schema) -> Any:
    """Return a document with every key that a schema knows."""
    if "anyOf" in node:
        return whole_document(node["anyOf"][0])
    if "enum" in node:
        return node["enum"][0]
    match node["type"]:
        case "number" | "integer":
            low, above = node.get("minimum"), node.get("exclusiveMinimum")
            return low if low is not None else 1 if above is None else above + 1
        case "string":
            return next(text for text in TEXTS if re.fullmatch(node.get("pattern", ".*"), text))
        case "boolean":
            return True
        case "array":
            return [whole_document(node["items"])] * max(1, node.get("minItems", 1))
    if "properties" in node:
        return {name: whole_document(entry) for name, entry in node["properties"].items()}
    return {"a": whole_document(node["additionalProperties"])}


def variants(node: Schema) -> Iterator[Variant]:
    """Yield documents with one mistake each, and documents with a value at a bound."""
    if "anyOf" in node:
        judge = jsonschema.Draft202012Validator(node)
        for branch in node["anyOf"]:
            for each in variants(branch):
                if each.place != "" or not each.is_json or not judge.is_valid(each.value):
                    yield each
        return
    own = list(own_variants(node))
    judge = jsonschema.Draft202012Validator(node)
    for value, place, is_json in own:
        assert not is_json or judge.is_valid(value) == (place is None), (place, value)
    yield from own
    yield from inner_variants(node)


def own_variants(node: Schema) -> Iterator[Variant]:
    """Yield those of a value itself, or of its keys."""
    if "enum" in node:
        yield from (Variant(value, "") for value in ("no such word", 99, True, ["a"]))
    elif node.get("type") in ("number", "integer"):
        yield from number_variants(node)
    elif node.get("type") == "string":
        yield Variant(7, "")
        yield from (Variant("a" * (node[key] + 1), "") for key in ("maxLength",) if key in node)
        if "pattern" in node:
            refused = [each for each in NO_TEXTS if not re.fullmatch(node["pattern"], each)]
            assert refused
            # Python's jsonschema lets a pattern's $ stand before a line end.
            yield from (Variant(each, "", each != "a\n") for each in refused)
    elif node.get("type") == "boolean":
        yield from (Variant(value, "") for value in ("yes", 1))
    elif node.get("type") == "array":
        yield from (Variant(value, "") for value in ("a", {"a": 1}))
        if node.get("minItems"):
            yield Variant([whole_document(node["items"])] * (node["minItems"] - 1), "")
        if "maxItems" in node:
            yield Variant([whole_document(node["items"])] * (node["maxItems"] + 1), "")
    elif "properties" in node:
        yield from section_variants(node)
    elif "additionalProperties" in node:
        yield from (Variant(value, "") for value in ("a", [1]))
        if node.get("minProperties"):
            yield Variant({}, "")


def number_variants(node: Schema) -> Iterator[Variant]:
    step = 1 if node["type"] == "integer" else None
    yield from (Variant(value, "") for value in ("x", True))
    if step:
        yield from (Variant(2.0, "", is_json=False), Variant(0.5, ""))
    else:
        yield from (Variant(value, "", False) for value in (math.nan, math.inf, 10**400))
    for key, sign in (("minimum", -1), ("exclusiveMinimum", -1), ("maximum", 1)):
        if key in node:
            bound = node[key]
            beyond = bound + sign if step else math.nextafter(bound, sign * math.inf)
            within = bound - sign if step else math.nextafter(bound, -sign * math.inf)
            yield Variant(beyond, "")
            yield Variant(within, None)
            yield Variant(bound, "" if key == "exclusiveMinimum" else None)


def section_variants(node: Schema) -> Iterator[Variant]:
    full = whole_document(node)
    yield from (Variant(value, "") for value in ("a", [1]))
    yield Variant({**full, "surprise": 1}, "surprise")
    for name in node["properties"]:
        rest = {key: value for key, value in full.items() if key != name}
        yield Variant(rest, name if name in node["required"] else None)


def inner_variants(node: Schema) -> Iterator[Variant]:
    """Yield those of the values inside a list or a mapping."""
    if node.get("type") == "array":
        others = [whole_document(node["items"])] * (max(1, node.get("minItems", 1)) - 1)
        for each in variants(node["items"]):
            yield each.inside(0, [each.value, *others])
        return
    full = whole_document(node) if "properties" in node else {}
    entries = node.get("properties") or {"a": node.get("additionalProperties")}
    for name, entry in entries.items():
        for each in variants(entry) if entry else ():
            yield each.inside(name, {**full, name: each.value})


@every_kind
@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.acceptance)])
def test_reader_and_schema_find_the_same_mistakes(kind: str, every: int) -> None:
    """Each takes long under coverage, so that CI tries one of three."""
    seen = set[str | None]()
    for value, place, _ in itertools.islice(variants(json_schema(KINDS[kind])), 0, None, every):
        reader = Reader("a file")
        reader.section(KINDS[kind], value)
        assert [each.key for each in reader.problems] == ([] if place is None else [place])
        seen.add(place)
    assert len(seen) > 40


@every_kind
def test_a_document_with_every_key_is_accepted(kind: str) -> None:
    schema = json_schema(KINDS[kind])
    reader = Reader("a file")
    assert reader.section(KINDS[kind], whole_document(schema)) is not None
    jsonschema.Draft202012Validator(schema).validate(whole_document(schema))


@pytest.mark.parametrize("name", EDITOR_SCHEMAS)
def test_committed_schema_is_current(name: str) -> None:
    committed = json.loads((BUNDLES / f"{name}.schema.json").read_text("utf-8"))
    assert committed == EDITOR_SCHEMAS[name](), "run python -m tools.write_schema"
    jsonschema.Draft202012Validator.check_schema(committed)


@pytest.mark.parametrize("file", [*CONTRACTS, *SETS], ids=lambda file: file.parent.name)
def test_committed_bundle_is_accepted_by_reader_and_schema_and_names_the_schema(file: Path) -> None:
    if file.stem == "set":
        name = load_bundle(file.parent, kind=SetBundle).contract.name
    else:
        name = any_contract(file).name
    assert name == file.parent.name
    text = file.read_text("utf-8")
    jsonschema.Draft202012Validator(EDITOR_SCHEMAS[file.stem]()).validate(yaml.safe_load(text))
    stated = file.parent / text.splitlines()[0].partition("$schema=")[2]
    assert stated.resolve() == (BUNDLES / f"{file.stem}.schema.json").resolve()


def test_committed_bundles_are_found() -> None:
    assert {"go2_walk", "lite3_deeprobotics", "lite3_walk"} <= {
        each.parent.name for each in CONTRACTS
    }


@pytest.mark.parametrize("kind", ["joint", "chunk"])
def test_contract_of_the_guide_is_accepted_by_reader_and_schema(tmp_path: Path, kind: str) -> None:
    guide = (Path(__file__).resolve().parents[4] / "docs" / "bundle.md").read_text("utf-8")
    examples = [block.partition("```")[0] for block in guide.split("```yaml\n")[1:]]
    (example,) = (block for block in examples if f"kind: {kind}\n" in block)
    file = tmp_path / "policy.yaml"
    file.write_text(example.replace("<64 hex digits>", "'" + "0" * 64 + "'"), "utf-8")
    assert any_contract(file).kind == kind
    jsonschema.Draft202012Validator(contract_schema()).validate(yaml.safe_load(file.read_bytes()))


@pytest.mark.parametrize("kind", ["act", "", None, 2])
def test_a_kind_that_there_is_not_is_marked(kind: object) -> None:
    stated = {**whole_document(json_schema(ChunkContract)), "kind": kind}
    errors = jsonschema.Draft202012Validator(contract_schema()).iter_errors(stated)
    assert ["kind"] in [[*error.absolute_path] for error in errors]
