# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Changes of parsed YAML by keys like ``observations.obs.terms.0.scale``."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MISSING = object()
"""In an edit: take the key away."""

Edits = Mapping[str, object]
"""Keys with their new values."""


def with_edits(parsed: Mapping[str, Any], edits: Edits | None = None) -> dict[str, Any]:
    """Return a copy with keys set."""
    changed = copy.deepcopy(dict(parsed))
    for key, value in (edits or {}).items():
        set_key(changed, key, value if value is MISSING else copy.deepcopy(value))
    return changed


def set_key(node: Any, key: str, value: object) -> None:
    """Set one key in place; sections on the way to it are made.

    In a key, `*` is every key of a section, and `+` the place behind the end of a list.
    """
    name, _, rest = key.partition(".")
    if name == "*":
        for each in list(node):
            set_key(node, f"{each}.{rest}", value)
        return
    if name == "+":
        node.append(value)
        return
    place: Any = int(name) if isinstance(node, list) else name
    if rest:
        set_key(node[place] if isinstance(node, list) else node.setdefault(place, {}), rest, value)
    elif value is MISSING:
        del node[place]
    else:
        node[place] = value


def reword(file: Path, *changes: tuple[str, str]) -> Path:
    """Replace texts of a file, which must be there; return the file."""
    text = file.read_text("utf-8")
    for before, after in changes:
        assert before in text, f"{file}: no {before}"
        text = text.replace(before, after)
    file.write_text(text, "utf-8")
    return file
