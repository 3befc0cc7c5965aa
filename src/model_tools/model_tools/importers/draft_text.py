# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A draft as the text of a `policy.yaml`, with comments that say where its values came from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from model_tools.contract_text import DRAFT_LINE
from model_tools.importers.draft import TODO, Draft, Path

_WIDTH, _INDENT = 84, "  "
_HEAD = "# yaml-language-server: $schema=../policy.schema.json"


def draft_text(draft: Draft) -> str:
    """Return the YAML; sections are in block style, lists and maps of plain values in one line."""
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
    """Return the lines of one key with its value, its origin above it."""
    lines = _comment(draft.origins[path], depth) if path in draft.origins else []
    margin, name = _INDENT * depth, _scalar(path[-1])
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
    dumped = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True,
                            width=_WIDTH - len(_INDENT) * depth)
    return [line.strip() for line in dumped.removesuffix("...\n").splitlines()]


def _hang(head: str, lines: list[str]) -> list[str]:
    """Put the head before the first line and indent the others as far."""
    return [(head if i == 0 else " " * len(head)) + line for i, line in enumerate(lines)]


def _comment(words: str, depth: int) -> list[str]:
    return [f"{_INDENT * depth}# {line}" for line in words.splitlines()]


def _scalar(value: Any) -> str:
    return " ".join(_flow(value, 0))
