# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What this Python has installed, found without importing it."""

from __future__ import annotations

import importlib.util
import re
import sys
from importlib import metadata


def module_found(name: str) -> bool:
    """Whether a top-level module could be imported, as far as its files tell."""
    return sys.modules.get(name) is not None or importlib.util.find_spec(name) is not None


def installed_version(*distributions: str) -> str | None:
    """Return the version of the first of some distributions that is installed."""
    for name in distributions:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return None


def version_of(text: str) -> tuple[int, ...]:
    """Return the numbers of the first version in a text: (2, 5, 0) of `rknn-toolkit2 2.5.0`.

    Empty where there is none.
    """
    found = re.search(r"(?<![\w.])v?([0-9]{1,9}(?:\.[0-9]{1,9})+)(?![0-9])", text)
    return tuple(map(int, found[1].split("."))) if found else ()
