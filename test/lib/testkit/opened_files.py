# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Counts how often the files of a folder are opened."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_watched: dict[Path, Counter[str]] = {}


def _count(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _watched and isinstance(arguments[0], (str, bytes, os.PathLike)):
        file = Path(os.fsdecode(arguments[0]))
        for folder, opened in _watched.items():
            if folder in file.parents:
                opened[str(file.relative_to(folder))] += 1


# A hook cannot be removed, so there is one for all.
sys.addaudithook(_count)


@contextmanager
def counted_opens(folder: Path) -> Iterator[Counter[str]]:
    """Count how often Python opens each file below a folder, by its relative path."""
    opened = _watched[folder] = Counter[str]()
    try:
        yield opened
    finally:
        del _watched[folder]
