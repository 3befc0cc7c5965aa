# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The foreign formats by name, and which of them a file is, by its content."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from model_tools.errors import ToolError
from model_tools.importers import deploy_yaml, descriptor, env_yaml, leapp, onnx_metadata
from model_tools.importers.draft import Draft
from model_tools.importers.source import Given, Source


class Importer(Protocol):
    """A format: a module of this package."""

    NAME: str

    def recognise(self, source: Source) -> bool:
        """Return whether the file is of this format."""

    def read(self, source: Source, given: Given) -> Draft:
        """Return what the file says.

        Raises:
            ToolError: Something is missing or does not fit.
        """


def register(importers: Sequence[Importer]) -> dict[str, Importer]:
    """Return importers by name.

    Raises:
        ValueError: Two have the same name.
    """
    registered = {importer.NAME: importer for importer in importers}
    if len(registered) != len(importers):
        raise ValueError("importers: expected each name once, found one twice")
    return registered


IMPORTERS = register([descriptor, env_yaml, deploy_yaml, leapp, onnx_metadata])


def choose(source: Source, name: str | None = None) -> Importer:
    """Return the importer of this name, or the one that recognises the file.

    Raises:
        ToolError: The name is unknown, or none or several recognise the file.
    """
    known = ", ".join(IMPORTERS)
    if name is not None:
        if name not in IMPORTERS:
            raise ToolError(f"--format: expected one of {known}, found {name}")
        return IMPORTERS[name]
    found = [importer for importer in IMPORTERS.values() if importer.recognise(source)]
    if not found and source.is_onnx:
        raise ToolError(f"{source.path}: expected joint_names or dof_names in the metadata of the "
                        "model, found neither; name the YAML file that the training left beside "
                        f"it, and --model {source.path}")
    if not found and source.has("schema_version", "kind"):
        raise ToolError(f"{source.path}: expected what a training left behind, found the contract "
                        "of a bundle; give its folder to `model_tools inspect` or `complete`")
    if len(found) != 1:
        names = " and ".join(importer.NAME for importer in found) or "none of them"
        raise ToolError(f"{source.path}: expected one of the formats {known}, found {names}; "
                        "--format forces one")
    return found[0]
