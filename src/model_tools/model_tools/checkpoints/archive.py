# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The zip archives that torch writes, as far as they can be told without torch."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path


def members(path: Path) -> list[zipfile.ZipInfo]:
    """Return what is in a zip archive; nothing if it is none, or not whole.

    Raises:
        OSError: It cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    # ValueError: names that are no text; NotImplementedError: an archive of a later standard.
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return []


def is_program(found: Sequence[zipfile.ZipInfo]) -> bool:
    """Return whether an archive holds the code of a TorchScript program."""
    return any("/code/" in member.filename for member in found)


def is_data(found: Sequence[zipfile.ZipInfo]) -> bool:
    """Return whether an archive holds what `torch.save` wrote."""
    return any(member.filename.rpartition("/")[2] == "data.pkl" for member in found)
