# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Set and remove sections in the text of a `policy.yaml`, keeping comments and order.

A report about a model is a file in the bundle, and the contract holds its hash.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from model_tools.errors import ToolError
from model_tools.files.outputs import new_file
from policy_core.bundle.bundle import (
    CONTRACT_FILE,
    REPORT_FOLDER,
    AnyBundle,
    file_entry,
    model_sha256,
)
from policy_core.bundle.load import load_bundle
from policy_core.bundle.store import RECORD_FILE

_WIDTH = 84  # PyYAML breaks a line after the word that exceeds the width
_INDENT = "  "
DRAFT_LINE = "# Answer each TODO below; until then the loader refuses this file."
"""Line near the top of a contract with open questions."""


def set_section(text: str, key: str, value: Any) -> str:
    """Return the text with a new value for a key: a block-style section, or a word.

    Args:
        text: YAML whose sections are mappings in block style, indented by two spaces.
        key: `nominal`, or `model.golden` for a section inside another, which must exist. A missing
            key is added at the end of the file or of the enclosing section.
        value: New content: a mapping, a part of the contract, or a word. Entries with the value
            None are omitted.
    """
    lines, depth, name, start, end = _enter(text, key)
    old = _find(lines, name, depth, start, end)
    first, last = old or (end, end)
    new = _dump(name, plain(value), depth)
    if old is None and depth == 0:
        new = ["", *new]
    return "\n".join([*lines[:first], *new, *lines[last:]]) + "\n"


def remove_section(text: str, key: str) -> str:
    """Return the text without the section under this key; unchanged if there is none."""
    lines, depth, name, start, end = _enter(text, key)
    found = _find(lines, name, depth, start, end)
    if found is None:
        return text
    first, last = found
    if first > start and not lines[first - 1] and not "".join(lines[last : last + 1]):
        first -= 1  # also the blank line above
    return "\n".join([*lines[:first], *lines[last:]]) + "\n"


def _enter(text: str, key: str) -> tuple[list[str], int, str, int, int]:
    """Return the lines, depth and name of `key`, and the enclosing section's rows (first, end)."""
    *parents, name = key.split(".")
    lines, start, end = text.splitlines(), 0, len(text.splitlines())
    for depth, parent in enumerate(parents):
        found = _find(lines, parent, depth, start, end)
        if found is None:
            raise ValueError(f"{key}: expected a section '{parent}' in block style, found none")
        start, end = found[0] + 1, found[1]
    return lines, len(parents), name, start, end


def _find(lines: list[str], name: str, depth: int, start: int, end: int) -> tuple[int, int] | None:
    """Return the rows of a section, without trailing blank lines and comments."""
    indent = re.escape(_INDENT * depth)
    head = re.compile(rf"{indent}{re.escape(name)}:(\s|$)")
    first = next((row for row in range(start, end) if head.match(lines[row])), None)
    if first is None:
        return None
    inside = re.compile(rf"{indent}(\s|\}}|\])")
    last = first + 1
    for row in range(first + 1, end):
        if inside.match(lines[row]):
            last = row + 1
        elif lines[row].strip():
            break
    return first, last


def plain(value: Any, without: tuple[Any, ...] = (None,)) -> Any:
    """Return the value in plain YAML types, without mapping entries whose value is in `without`."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {entry.name: getattr(value, entry.name) for entry in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: plain(entry, without) for key, entry in value.items() if entry not in without}
    return [plain(entry, without) for entry in value] if isinstance(value, (tuple, list)) else value


def _dump(name: str, value: Any, depth: int) -> list[str]:
    """Return the section's lines; lists and mappings of plain values in flow style."""
    # By default, PyYAML would write a one-word map in braces, where no search finds its key.
    style = False if isinstance(value, str) else None
    text = yaml.safe_dump(
        {name: value},
        sort_keys=False,
        default_flow_style=style,
        allow_unicode=True,
        width=_WIDTH - len(_INDENT) * depth,
    )
    body = text.splitlines()
    return [_INDENT * depth + line for line in body]


def read_models(report: Path) -> set[str]:
    """Return the SHA-256 hashes of the models in a JSON report; empty for files of other kinds."""
    try:
        content = json.loads(report.read_text("utf-8"))
        stated = [content, *content.get("artifacts", [])]
        return {
            str(entry[key])
            for entry in stated
            for key in ("model_sha256", "sha256")
            if key in entry
        }
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return set()


def require_room(bundle: AnyBundle, key: str, name: str, *, force: bool) -> None:
    """Raise an error unless a report may be added to a bundle; see `keep_report`."""
    if (bundle.path / RECORD_FILE).exists():
        raise ToolError(
            f"{bundle.path}: expected a bundle folder that can receive a report, found an "
            "installed version, whose files must not change; use the folder from which it was "
            "installed"
        )
    reports, file = bundle.contract.reports, bundle.path / REPORT_FOLDER / name
    there = reports[key].file if key in reports else file if file.exists() else None
    if there is not None and not force:
        raise ToolError(
            f"{bundle.path}: expected no report about {key} yet, found {there}; --force replaces it"
        )


def keep_report(
    bundle: Path,
    backend: str,
    name: str,
    write: Callable[[Path], None],
    *,
    sha256: str,
    force: bool,
    key: str | None = None,
) -> Path:
    """Write a report on a back end's model to the bundle; keep the reports on other models.

    Args:
        bundle: Folder of the bundle.
        backend: Back end of the model.
        name: File name in the folder `reports`.
        write: Function that writes the report to a path.
        sha256: Hash of the model; see `policy_core.bundle.bundle.model_sha256`.
        force: Replace an existing report under this key.
        key: Key in the contract's `reports`; None for the back end's name.

    Returns:
        Path of the report file.
    """
    loaded, key = load_bundle(bundle), key or backend
    require_room(loaded, key, name, force=force)
    models = [model.artifact(backend)[1] for model in loaded.models]
    there = model_sha256(loaded.contract, backend)
    if there != sha256:
        raise ToolError(
            f"{models[0]}: expected the model that the report is about, sha256 {sha256}, found "
            f"{there}; the bundle was changed in the meantime; start again"
        )
    reports = loaded.contract.reports
    file, contract = bundle / REPORT_FOLDER / name, bundle / CONTRACT_FILE
    with new_file(file, force=force) as growing:
        write(growing)
    entries = {**reports, key: file_entry(file, bundle)}
    text = set_section(contract.read_text("utf-8"), "reports", entries)
    with new_file(contract, force=True) as growing:
        growing.write_text(text, "utf-8")
    return file
