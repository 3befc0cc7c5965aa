# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Reads MuJoCo models of robots; refuses small files that would allocate much memory."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

_LARGEST_BYTES = 1 << 26
_MOST_COPIES, _MOST_CELLS, _MOST_USER_VALUES = 10_000, 1 << 24, 10_000
_COPYING = ("replicate", "composite", "flexcomp")
_CELLS = {"hfield": ("nrow", "ncol"), "texture": ("width", "height")}
_NUMBER = re.compile(r"\+?\d+(e\+?\d\d?)?")


def load_spec(file: Path) -> Any:
    """Return the `mujoco.MjSpec` of a model file, MJCF or URDF."""
    import mujoco

    _require_bounded(file)
    return mujoco.MjSpec.from_file(str(file))


def _require_bounded(path: Path) -> None:
    waiting, seen = [(path, path.parent)], set[Path]()
    copies, cells = 1, 0
    while waiting:
        file, folder = waiting.pop()
        if file in seen or not file.is_file():
            continue
        seen.add(file)
        try:
            root = ElementTree.fromstring(_content(file))
        except (ElementTree.ParseError, OSError):
            continue  # MuJoCo refuses it
        waiting += _files_in(root, file, folder)
        # A file may be included inside a replicated part of another file.
        copies *= _most_copies(root)
        cells += sum(
            math.prod(_whole(one.get(key)) for key in keys)
            for tag, keys in _CELLS.items()
            for one in root.iter(tag)
        )
        for found, most, what in (
            (copies, _MOST_COPIES, "copies of a part"),
            (cells, _MOST_CELLS, "heights of fields and pixels of textures"),
            (_most_user_values(root), _MOST_USER_VALUES, "user values of a part"),
        ):
            if found > most:
                raise ValueError(f"{file}: {found} {what}, more than {most}")


def _content(file: Path) -> bytes:
    if file.stat().st_size > _LARGEST_BYTES:
        raise ValueError(f"{file}: more than {_LARGEST_BYTES} bytes")
    return file.read_bytes()


def _files_in(root: ElementTree.Element, file: Path, folder: Path) -> list[tuple[Path, Path]]:
    """Return each file that a file includes or attaches, and the folder of its own includes.

    MuJoCo looks for an included file beside the model, then beside the including file.
    """
    found = []
    for one in root.iter("include"):
        beside_model, beside_file = (at / one.get("file", "") for at in (folder, file.parent))
        found.append((beside_model if beside_model.is_file() else beside_file, folder))
    for one in root.iter("model"):
        attached = folder / one.get("file", "")
        found.append((attached, attached.parent))
    return found


def _most_copies(root: ElementTree.Element) -> int:
    most, places = 1, [(root, 1)]
    while places:
        element, copies = places.pop()
        if element.tag in _COPYING:
            copies *= math.prod(map(_whole, element.get("count", "").split()))
        most = max(most, copies)
        places += [(child, copies) for child in element]
    return most


def _most_user_values(root: ElementTree.Element) -> int:
    return max(
        (
            _whole(value)
            for size in root.iter("size")
            for key, value in size.items()
            if key.startswith("nuser")
        ),
        default=0,
    )


def _whole(text: str | None) -> int:
    """Return a whole number of at least 1; other texts count as 1: MuJoCo refuses them."""
    text = (text or "").strip()
    return max(1, int(min(float(text), 1e18))) if _NUMBER.fullmatch(text) else 1
