# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Strict reader and JSON Schema for YAML files, both derived from dataclasses.

A field is declared with `entry(doc, ...)`; its type defines the structure of the YAML value, and
its metadata define the bounds. Supported types: bool, int, float, str, Literal, tuple[T, ...],
dict[str, T], dataclasses, `PerJoint` and Optional of each.
"""

import dataclasses
import functools
import re
import reprlib
import sys
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from policy_core.bundle.bounded_yaml import LARGEST_BYTES, YamlError, load_text
from policy_core.errors import BundleError, Problem
from policy_core.interfaces import F64
from policy_core.safe_files import read_at_most

Check = Callable[[str, str, object], None]
"""Callback that reports a problem: key, expected value, found value."""
PerJoint = F64
"""One number per joint, in policy order. `Reader` stores the value as `PerJointYaml`;
`bundle.resolve` converts it to an array.
"""
PerJointYaml = float | Sequence[float] | Mapping[str, float]
"""One number for all joints, one per joint in policy order, or a map from names or patterns."""

V = TypeVar("V")
_MISSING = object()
_BOUNDS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "minimum": (">=", lambda value, bound: value >= bound),
    "exclusiveMinimum": (">", lambda value, bound: value > bound),
    "maximum": ("<=", lambda value, bound: value <= bound),
    "maxLength": ("of length <=", lambda value, bound: len(value) <= bound),
}


def entry(
    doc: str, *, default: Any = dataclasses.MISSING, length: int | None = None, **schema: Any
) -> Any:
    """Declare a field in a YAML section; `schema` holds JSON Schema keywords for its value."""
    metadata = {"doc": doc, "length": length, "schema": schema}
    if isinstance(default, (dict, list)):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def load_yaml(path: Path) -> object:
    """Return the value in a YAML file; tags run no code, and duplicate keys are errors.

    Raises:
        BundleError: The file is missing, unreadable, or not YAML.
    """
    return parse_yaml(read_bytes(path), path)


def read_bytes(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        BundleError: The file is missing, unreadable, not a regular file, or larger than any
            hand-written file.
    """
    try:
        return read_at_most(path, LARGEST_BYTES)
    except FileNotFoundError:
        raise BundleError(Problem(file=str(path), expected="a file", found="nothing")) from None
    except OSError as error:
        found = f"an unreadable one ({error.strerror or type(error).__name__})"
        raise BundleError(
            Problem(file=str(path), expected="a readable file", found=found)
        ) from error


def parse_yaml(content: bytes, path: object) -> object:
    """Return the value in the content of a YAML file; see `load_yaml`.

    Raises:
        BundleError: The content is not YAML; the message names `path`.
    """
    try:
        return load_text(content.decode("utf-8"))
    except (YamlError, UnicodeDecodeError) as error:
        found = " ".join(str(error).split())
        raise BundleError(Problem(file=str(path), expected="YAML", found=found)) from error


class Reader:
    """Converts parsed YAML to dataclasses and collects all problems."""

    def __init__(self, file: str) -> None:
        """Create a reader; error messages name `file`."""
        self.file = file
        self.problems: list[Problem] = []

    def problem(self, key: str, expected: str, value: object, remedy: str = "") -> None:
        """Add a problem; the message shortens a long value."""
        found = value if isinstance(value, Found) else Found.of(value)
        self.problems.append(
            Problem(file=self.file, key=key, expected=expected, found=found, remedy=remedy)
        )

    def expect(self, holds: bool, key: str, expected: str, value: object, remedy: str = "") -> None:
        """Add a problem unless `holds` is true."""
        if not holds:
            self.problem(key, expected, value, remedy)

    def tried(self, key: str, resolve: Callable[..., V], *values: Any) -> V | None:
        """Return `resolve(*values)`, or None after reporting a ValueError(expected, found)."""
        try:
            return resolve(*values)
        except ValueError as error:
            expected, found = error.args
            return self.problem(key, expected, Found(found))  # type: ignore[func-returns-value]

    def require_none(self) -> None:
        """Raise an error that lists all problems, if there are any.

        Raises:
            BundleError: There are problems.
        """
        if self.problems:
            raise BundleError(*self.problems)

    def section(self, cls: Any, value: object, key: str = "", default: object = None) -> Any:
        """Return a mapping as an instance of the dataclass `cls`; None if it is invalid.

        Missing keys get the values that they have in `default`, an instance of the class, if any.
        """
        if not isinstance(value, Mapping):
            # A wrong file may hold secrets, so its content is not shown.
            found = value if key else Found(_KINDS.get(type(value), "another value"))
            return self.problem(key, f"a mapping with the keys of {cls.__name__}", found)
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for unknown in [name for name in value if name not in fields]:
            self.problem(
                _join(key, str(unknown)),
                f"one of the keys {', '.join(fields)}",
                Found("an unknown key"),
            )
        hints, before, values = _hints(cls), len(self.problems), {}
        for name, field in fields.items():
            raw, where = value.get(name, _MISSING), _join(key, name)
            if raw is _MISSING and default is not None:
                values[name] = getattr(default, name)
            elif raw is _MISSING:
                if not _has_default(field):
                    wanted = _wanted(hints[name], field.metadata.get("doc", ""))
                    self.problem(where, wanted, Found("nothing"))
            elif _is_section(field.default) and isinstance(raw, Mapping):
                values[name] = self.section(type(field.default), raw, where, field.default)
            else:
                values[name] = self.value(hints[name], raw, where, field.metadata)
        return cls(**values) if len(self.problems) == before else None

    def value(self, kind: Any, value: object, key: str, rules: Mapping[str, Any]) -> Any:
        """Return a value converted to the type `kind`; if it is invalid, add a problem."""
        if kind == PerJoint:
            return self._per_joint(value, key, rules)
        origin, args = get_origin(kind), get_args(kind)
        if origin in (Union, types.UnionType):
            if value is None and type(None) in args:
                return None
            return self.value(_choose(args, value), value, key, rules)
        if origin is Literal:
            if value in args and type(value) in {type(arg) for arg in args}:
                return value
            return self.problem(key, one_of([*map(str, args)]), value)
        if origin is tuple:
            return self._list(args[0], value, key, rules)
        if origin is dict:
            return self._map(args[1], value, key, rules)
        if dataclasses.is_dataclass(kind):
            return self.section(kind, value, key)
        return self._scalar(kind, value, key, rules)

    def _scalar(self, kind: type, value: Any, key: str, rules: Mapping[str, Any]) -> Any:
        fits = isinstance(value, (int, float) if kind is float else kind)
        if not fits or (isinstance(value, bool) and kind is not bool):
            single = not isinstance(value, (list, dict, type(None)))
            remedy = "put it in quotes" if kind is str and single else ""
            return self.problem(key, _SCALARS[kind], value, remedy)
        if kind is float:
            # Not isfinite, which raises for integers beyond the largest float.
            if not abs(value) <= sys.float_info.max:
                return self.problem(key, "a finite number", value)
            value = float(value)
        for name, bound in rules["schema"].items():
            if name in _BOUNDS and not _BOUNDS[name][1](value, bound):
                return self.problem(key, f"{_SCALARS[kind]} {_BOUNDS[name][0]} {bound}", value)
            if name == "pattern" and not re.fullmatch(bound, str(value)):
                return self.problem(key, f"text that matches {bound}", value)
        return value

    def _list(self, kind: Any, value: object, key: str, rules: Mapping[str, Any]) -> Any:
        if not isinstance(value, list):
            return self.problem(key, "a list", value)
        if rules["length"] is not None and len(value) != rules["length"]:
            return self.problem(key, f"{rules['length']} values", Found(f"{len(value)}"))
        if rules["schema"].get("minItems", 0) > len(value):
            return self.problem(key, "at least one value", Found("an empty list"))
        most = rules["schema"].get("maxItems", len(value))
        if most < len(value):
            return self.problem(key, f"at most {most} values", Found(f"{len(value)}"))
        return tuple(self.value(kind, v, f"{key}[{i}]", rules) for i, v in enumerate(value))

    def _map(self, kind: Any, value: object, key: str, rules: Mapping[str, Any]) -> Any:
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            return self.problem(key, "a mapping with names as keys", value)
        if rules["schema"].get("minProperties", 0) > len(value):
            return self.problem(key, "at least one entry", Found("an empty mapping"))
        return {name: self.value(kind, v, _join(key, name), rules) for name, v in value.items()}

    def _per_joint(self, value: object, key: str, rules: Mapping[str, Any]) -> Any:
        if isinstance(value, list):
            return self._list(float, value, key, {**rules, "length": None})
        if isinstance(value, Mapping):
            return self._map(float, value, key, rules)
        if value in (words := rules["schema"].get("words", ())):
            return value
        if isinstance(value, str) and words:
            return self.problem(key, one_of(words), value)
        return self._scalar(float, value, key, rules)


def one_of(words: Sequence[str]) -> str:
    """Return the allowed values in words, as the expected value in an error message."""
    return f"one of {', '.join(words)}" if len(words) > 1 else words[0]


def _wanted(kind: Any, doc: str) -> str:
    """Return, in words, the value that is expected for a missing key."""
    if get_origin(kind) is Literal:
        return one_of([*map(str, get_args(kind))])
    return f"a value ({doc})" if doc else "a value"


class Found(str):
    """Description of a found value, shown without quotes."""

    @classmethod
    def of(cls, value: object) -> "Found":
        """Return a brief description of a YAML value."""
        if value is None:
            return cls("nothing")
        text = _BRIEF.repr(value)
        return cls(text if len(text) <= 60 else f"{text[:57]}...")


def expect_paired(is_needed: bool, value: object, key: str, where: str, problem: Check) -> None:
    """Report a value that is missing although needed, or present although meaningless.

    Args:
        is_needed: True if the value is required.
        value: The value; None if absent.
        key: Key of the value.
        where: Description of the feature that the value belongs to.
        problem: Called with the key, the expected value and the found value.
    """
    if is_needed and value is None:
        problem(key, f"a value for {where}", Found("nothing"))
    elif not is_needed and value is not None:
        problem(key, f"nothing (it applies only to {where})", value)


# Aliases can turn a few lines of YAML into a value whose repr never ends.
_BRIEF = reprlib.Repr()
_BRIEF.maxlevel, _BRIEF.maxlist, _BRIEF.maxdict = 3, 20, 20
_BRIEF.maxstring = _BRIEF.maxlong = _BRIEF.maxother = 1000


def json_schema(cls: type) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) for a dataclass, for use in editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_make_schema(cls, {})}


def _make_schema(kind: Any, rules: Mapping[str, Any]) -> dict[str, Any]:
    if kind == PerJoint:
        number = _make_schema(float, rules)
        return {
            "anyOf": [
                number,
                {"type": "array", "items": number},
                {"type": "object", "additionalProperties": number},
                *({"const": word} for word in rules["schema"].get("words", ())),
            ]
        }
    origin, args = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_make_schema(arg, rules) for arg in args]}
    if kind is type(None):
        return {"type": "null"}
    if origin is Literal:
        return {"enum": list(args)}
    if origin is tuple:
        return {"type": "array", "items": _make_schema(args[0], rules), **_count(rules)}
    if origin is dict:
        entries = rules.get("schema", {}).get("minProperties", 0)
        return {
            "type": "object",
            "additionalProperties": _make_schema(args[1], rules),
            **({"minProperties": entries} if entries else {}),
        }
    if dataclasses.is_dataclass(kind):
        return _object_schema(kind)
    keywords = {
        k: v
        for k, v in rules.get("schema", {}).items()
        if k not in ("minItems", "maxItems", "minProperties", "words")
    }
    return {"type": _JSON_TYPES[kind], **keywords}


def _choose(args: tuple[Any, ...], value: object) -> Any:
    """Return the member of a Union that a YAML value is read as.

    A string selects a Literal, a mapping selects a dataclass, and anything else selects the first
    remaining member.
    """
    members = [arg for arg in args if arg is not type(None)]
    words = [arg for arg in members if get_origin(arg) is Literal]
    sections = [arg for arg in members if dataclasses.is_dataclass(arg)]
    others = [arg for arg in members if arg not in words]
    meant = words if isinstance(value, str) else sections if isinstance(value, Mapping) else others
    return (meant or members)[0]


def _object_schema(cls: Any) -> dict[str, Any]:
    hints, properties, required = _hints(cls), {}, []
    for field in dataclasses.fields(cls):
        properties[field.name] = {
            **_make_schema(hints[field.name], field.metadata),
            "description": field.metadata["doc"],
        }
        if _is_section(field.default):
            _require_nothing(properties[field.name])
        if not _has_default(field):
            required.append(field.name)
    return {
        "type": "object",
        "description": (cls.__doc__ or "").splitlines()[0],
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _count(rules: Mapping[str, Any]) -> dict[str, int]:
    length = rules.get("length")
    if length is not None:
        return {"minItems": length, "maxItems": length}
    schema = rules.get("schema", {})
    return {key: schema[key] for key in ("minItems", "maxItems") if key in schema}


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)  # cached: takes 0.2 ms, and a trials file has one section per line


def _has_default(field: "dataclasses.Field[Any]") -> bool:
    return (
        field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    )


def _is_section(default: object) -> bool:
    return dataclasses.is_dataclass(default) and not isinstance(default, type)


def _require_nothing(schema: dict[str, Any]) -> None:
    """Make the keys of a section optional, because its default has a value for each."""
    for option in (schema, *schema.get("anyOf", ())):
        if "required" in option:
            option["required"] = []


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


_SCALARS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_KINDS = {str: "text", list: "a list", int: "a number", float: "a number", type(None): "nothing"}
_JSON_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}
