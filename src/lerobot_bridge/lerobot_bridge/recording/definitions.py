# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Reads the definitions of installed message types, which go into a bag."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from policy_core.errors import PolicyError

if TYPE_CHECKING:
    from rosbags.typesys.store import Typestore

_PREFIXES = "AMENT_PREFIX_PATH"


class Definitions:
    """Reads definitions on demand.

    Attributes:
        types: The types that were read.
    """

    def __init__(self) -> None:
        self.types: Typestore = get_typestore(Stores.EMPTY)

    def require(self, kind: str) -> None:
        if kind in self.types.types:
            return
        package, _, name = kind.split("/")
        found = get_types_from_msg(_definition(package, name).read_text("utf-8"), kind)
        for field in (field for _, fields in found.values() for _, field in fields):
            for part in _parts(field):
                self.require(part)
        self.types.register(found)


def _parts(field: Any) -> Iterator[str]:
    node, value = field
    if node is Nodetype.NAME:
        yield value
    elif node is not Nodetype.BASE:
        yield from _parts(value[0])


def _definition(package: str, name: str) -> Path:
    prefixes = [prefix for prefix in os.environ.get(_PREFIXES, "").split(os.pathsep) if prefix]
    files = (Path(prefix, "share", package, "msg", f"{name}.msg") for prefix in prefixes)
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        raise PolicyError(
            f"{_PREFIXES}: expected a prefix with share/{package}/msg/{name}.msg, "
            f"found {os.pathsep.join(prefixes) or 'nothing'}; install {package} and "
            "source its setup.bash"
        )
    return found
