# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Models of robots for MuJoCo, MJCF: what a few bytes of one make it allocate."""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree import ElementTree

from policy_inference.safe_files import read_at_most

_LARGEST_BYTES, _MOST_COPIES, _MOST_HEIGHTS = 1 << 26, 10_000, 1 << 22


def require_bounded_mjcf(path: Path) -> None:
    """Check what MuJoCo would allocate for a few bytes of MJCF, before it reads the file.

    That are copies (`replicate`, `composite`, `flexcomp`) and fields of heights, also in files that
    it includes. A file that is no XML is left to MuJoCo, which refuses it.

    Raises:
        ValueError: More copies than 10,000, or more heights than 4,194,304.
    """
    waiting, seen = [path], set[Path]()
    while waiting:
        file = waiting.pop()
        if file in seen or not file.is_file():
            continue
        seen.add(file)
        try:
            root = ElementTree.fromstring(read_at_most(file, _LARGEST_BYTES))
        except ElementTree.ParseError:
            continue
        waiting += [path.parent / one.get("file", "") for one in root.iter("include")]
        _require_few(file, root)


def _require_few(file: Path, root: ElementTree.Element) -> None:
    places = [(root, 1)]
    while places:
        element, copies = places.pop()
        if element.tag in ("replicate", "composite", "flexcomp"):
            copies *= _product(element.get("count", "1"))
        if copies > _MOST_COPIES:
            raise ValueError(f"{file}: {copies} copies of a part, more than {_MOST_COPIES}")
        if element.tag == "hfield":
            heights = _product(f"{element.get('nrow', '1')} {element.get('ncol', '1')}")
            if heights > _MOST_HEIGHTS:
                raise ValueError(f"{file}: a field of {heights} heights, more than {_MOST_HEIGHTS}")
        places += [(child, copies) for child in element]


def _product(text: str) -> int:
    """Return the product of whole numbers; what is none counts as 1, and MuJoCo refuses it."""
    numbers = [word for word in text.split() if re.fullmatch(r"\d+(e\+?\d\d?)?", word)]
    return math.prod(max(1, int(float(word))) for word in numbers)
