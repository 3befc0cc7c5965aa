# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The kinds of things that can be inspected; a new one is a module and a line here."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from model_tools.errors import ToolError
from model_tools.inspect import (
    arrays,
    bag,
    bundle,
    checkpoint,
    engine,
    lerobot_dataset,
    lerobot_policy,
    model,
    rknn,
    run_file,
    torchscript,
)
from model_tools.inspect.report import Report
from model_tools.inspect.signature import refuse_stand_in


class Inspector(Protocol):
    """A kind of file or folder: a module of this package."""

    KIND: str

    def recognise(self, path: Path) -> bool:
        """Return whether it is of this kind, without reading more than is needed to tell."""

    def inspect(self, path: Path) -> Report:
        """Return what is in it.

        Raises:
            PolicyError: It is broken in a way that leaves nothing to show.
        """


INSPECTORS: list[Inspector] = [
    bundle,
    bag,
    model,
    run_file,
    checkpoint,
    torchscript,
    rknn,
    engine,
    lerobot_policy,
    lerobot_dataset,
    arrays,
]


def inspect_path(path: Path) -> Report:
    """Return what is at `path`.

    Raises:
        ToolError: Nothing is there, or nothing that can be inspected.
        PolicyError: It is broken in a way that leaves nothing to show.
    """
    if not path.exists():
        raise ToolError(f"{path}: expected a file or folder, found nothing")
    refuse_stand_in(path)
    for inspector in INSPECTORS:
        if inspector.recognise(path):
            return inspector.inspect(path)
    kinds = ", ".join(inspector.KIND for inspector in INSPECTORS)
    raise ToolError(f"{path}: expected one of {kinds}, found something else")
