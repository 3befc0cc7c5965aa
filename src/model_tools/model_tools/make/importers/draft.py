# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A `policy.yaml` in progress: values, their origins, and open questions."""

from __future__ import annotations

import dataclasses
import hashlib
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from model_tools.errors import ToolError
from model_tools.files.contract_text import DRAFT_LINE
from model_tools.files.onnx_model import OnnxModel
from policy_core.bundle.contract import JointContract
from policy_core.errors import Problem

TODO = "TODO"
Path = tuple[str | int, ...]
Key = str | Path
"""A key such as `joints.stiffness`, or a tuple if a part may contain a dot, as tensor names may."""
_WIDTH, _INDENT = 84, "  "
_HEAD = "# yaml-language-server: $schema=../policy.schema.json"


class Draft:
    """Contract values in plain YAML types, with their origins and notes for the user.

    An open question is the value `{TODO: question}`, which the loader refuses everywhere.
    """

    def __init__(self, source: str, model: OnnxModel) -> None:
        """Start with the keys that every draft has.

        Args:
            source: Name of the source file.
            model: Parsed model of the bundle.
        """
        self.source, self.model = source, model
        self.values: dict[str, Any] = {"schema_version": 1, "kind": "joint"}
        self.origins: dict[Path, str] = {}
        self.remarks: list[str] = []
        self.beside: dict[str, bytes] = {}
        """Contents of the bundle's other files, by name."""

    def put(self, key: Key, value: Any, origin: str = "") -> None:
        """Set a value and the comment on its origin."""
        path = parts(key)
        place: Any = self.values
        for i, part in enumerate(path[:-1]):
            place = place[part] if isinstance(part, int) else place.setdefault(part, {})
            if not isinstance(place, (dict, list)):
                raise ToolError(f"{text(path[: i + 1])}: expected a section, found {place!r}")
        place[path[-1]] = value
        if origin:
            self.origins[path] = origin

    def keep(self, key: Key, name: str, content: bytes, origin: str) -> None:
        """Add a file of this name to the bundle, and set the key to its entry."""
        self.beside[name] = content
        sha256 = hashlib.sha256(content).hexdigest()
        self.put(key, {"file": name, "sha256": sha256}, origin)

    def ask(self, key: Key, question: str) -> None:
        """Add an open question, unless the key already has a value."""
        if self.find(key) is None:
            self.put(key, todo(question))

    def block(self, key: Key, problem: str) -> None:
        """Note that the contract cannot express something in this section of the source."""
        path = parts(key)
        place = self.find(path) or {}
        problems = [place[TODO]] if TODO in place else []
        self.put((*path, TODO), "; ".join([*problems, problem]))

    def remark(self, text: str) -> None:
        """Add a note for the user, which needs no answer."""
        self.remarks.append(text)

    def find(self, key: Key) -> Any:
        """Return the value of a key; None if absent."""
        place: Any = self.values
        for part in parts(key):
            try:
                place = place[part]
            except (KeyError, IndexError, TypeError):
                return None
        return place

    def terms(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        """Yield the path and value of each observation term."""
        observations = self.find("observations")
        for name in observations if isinstance(observations, dict) else ():
            path: Path = ("observations", name, "terms")
            terms = self.find(path)
            for i, term in enumerate(terms if isinstance(terms, list) else ()):
                yield (*path, i), term

    def complete(self) -> None:
        """Sort the values into the contract's order, and ask for missing required values."""
        self.values = _complete(JointContract, self.values)

    def todos(self) -> dict[str, str]:
        """Return the open questions by key."""
        return open_questions(self.values)


def open_questions(values: object) -> dict[str, str]:
    """Return the open questions in a contract's values, by key."""
    return {text(path): str(question) for path, question in _questions((), values, set())}


def other_problems(problems: Iterable[Problem], questions: Collection[str]) -> list[Problem]:
    """Return the loader's problems that are not open questions."""
    return [
        problem
        for problem in problems
        if not any(
            problem.key == key or problem.key.startswith((f"{key}.", f"{key}["))
            for key in questions
        )
    ]


def completing(folder: FilePath) -> str:
    """Return the command that makes a bundle from a draft once its questions are answered."""
    return shlex.join(["model_tools", "complete", str(folder), "--output", str(folder), "--force"])


def todo(question: str) -> dict[str, str]:
    """Return the value that stands for an open question."""
    return {TODO: question}


def parts(key: Key) -> Path:
    """Return a key as the tuple of its parts."""
    return tuple(key.split(".")) if isinstance(key, str) else key


def flow_text(value: Any) -> str:
    """Return a value as YAML on one line, usable as an answer."""
    return " ".join(_flow(value, 0))


def text(path: Path) -> str:
    """Return a path as text, such as `observations.obs.terms[0].scale`."""
    joined = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return joined.removeprefix(".")


def _questions(path: Path, value: object, seen: set[int]) -> Iterator[tuple[Path, object]]:
    """Yield open questions; visit a value with several aliases once."""
    if not isinstance(value, (dict, list)) or id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, dict) and TODO in value:
        yield path, value[TODO]
    for part, entry in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _questions((*path, part), entry, seen)


def _complete(kind: Any, value: Any) -> Any:
    """Return a value with its keys in the contract's order, and questions for missing keys."""
    args = [arg for arg in get_args(kind) if arg is not type(None)]
    if dataclasses.is_dataclass(kind) and isinstance(value, Mapping):
        return _complete_section(kind, value)
    if isinstance(value, list) and get_origin(kind) is tuple:
        return [_complete(args[0], entry) for entry in value]
    if isinstance(value, Mapping) and get_origin(kind) is dict:
        return {name: _complete(args[1], entry) for name, entry in value.items()}
    if len(args) == 1 and get_origin(kind) is not tuple:
        return _complete(args[0], value)
    return value


def _complete_section(kind: Any, value: Mapping[str, Any]) -> dict[str, Any]:
    if set(value) == {TODO}:
        return dict(value)
    hints, ordered = get_type_hints(kind), dict[str, Any]()
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        if field.name in value:
            ordered[field.name] = _complete(hint, value[field.name])
        elif field.default is field.default_factory is dataclasses.MISSING:
            section = dataclasses.is_dataclass(hint)
            ordered[field.name] = _complete(hint, {}) if section else todo(field.metadata["doc"])
    return ordered | {name: entry for name, entry in value.items() if name not in ordered}


def draft_text(draft: Draft) -> str:
    """Return the YAML: sections in block style, lists and mappings of plain values on one line."""
    lines = [_HEAD, f"# Imported by model_tools from {draft.source}."]
    if draft.todos():
        lines.append(DRAFT_LINE)
    for remark in draft.remarks:
        lines += _comment(f"Note: {remark}", 0)
    for name, value in draft.values.items():
        if isinstance(value, Mapping) or (name,) in draft.origins:
            lines.append("")
        lines += _entry(draft, (name,), value, 0)
    return "\n".join(lines) + "\n"


def _entry(draft: Draft, path: Path, value: Any, depth: int) -> list[str]:
    """Return the lines of a key and its value, below a comment on its origin."""
    lines = _comment(draft.origins[path], depth) if path in draft.origins else []
    margin, name = _INDENT * depth, flow_text(path[-1])
    if isinstance(value, Mapping) and _wants_block(draft, path, value):
        lines.append(f"{margin}{name}:")
        for key, entry in value.items():
            lines += _entry(draft, (*path, key), entry, depth + 1)
    elif _is_list_of_maps(value):
        lines.append(f"{margin}{name}:")
        for entry in value:
            lines += _hang(f"{margin}{_INDENT}- ", _flow(entry, depth + 2))
    else:
        lines += _hang(f"{margin}{name}: ", _flow(value, depth + 1))
    return lines


def _wants_block(draft: Draft, path: Path, value: Mapping[str, Any]) -> bool:
    inside = any(origin[: len(path)] == path and origin != path for origin in draft.origins)
    nested = any(isinstance(entry, Mapping) or _is_list_of_maps(entry) for entry in value.values())
    return bool(value) and (TODO in value or nested or inside or len(path) == 1)


def _is_list_of_maps(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def _flow(value: Any, depth: int) -> list[str]:
    dumped = yaml.safe_dump(
        value,
        default_flow_style=True,
        sort_keys=False,
        allow_unicode=True,
        width=_WIDTH - len(_INDENT) * depth,
    )
    return [line.strip() for line in dumped.removesuffix("...\n").splitlines()]


def _hang(head: str, lines: list[str]) -> list[str]:
    """Put the head before the first line, and indent the other lines by the head's length."""
    return [(head if i == 0 else " " * len(head)) + line for i, line in enumerate(lines)]


def _comment(words: str, depth: int) -> list[str]:
    return [f"{_INDENT * depth}# {line}" for line in words.splitlines()]
