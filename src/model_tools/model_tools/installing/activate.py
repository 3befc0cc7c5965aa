# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Choose the version that runs, and go back to the one before."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from model_tools.errors import ToolError
from model_tools.installing.activations import move_back, move_on, way_back
from model_tools.installing.durable import writing
from model_tools.installing.lock import locked
from model_tools.installing.models import check_version, model_folder, version_folder
from policy_inference.bundle.signature import TrustedKeys
from policy_inference.bundle.store import current_version

_log = logging.getLogger("model_tools")


def activate(root: Path, name: str, version: str, trusted: TrustedKeys | None = None) -> Path:
    """Put an installed version into use, once it is verified; return its folder.

    Raises:
        ToolError: It is not installed, another installer is at work, or the root cannot be written.
        BundleError: It is not whole, or not signed; what was in use stays.
        PolicyError: `current` is broken.
    """
    model = model_folder(root, name)
    folder = version_folder(model, version)
    with writing(root), locked(model):
        check_version(folder, trusted)
        warn_of_older(model, version)
        move_on(model, version)
    return folder


def warn_of_older(model: Path, version: str) -> None:
    """Log a warning where a version is older than the one in use: a signature does not expire.

    Raises:
        PolicyError: `current` is broken.
    """
    current = current_version(model)
    if current is not None and _order(version) < _order(current):
        _log.warning("%s %s is older than %s, which is in use; what was mended since then is not "
                     "in it", model.name, version, current)


def _order(version: str) -> tuple[Sequence[int], bool, str]:
    """Return what sorts versions as Semantic Versioning does, pre-releases by their text."""
    released, _, _ = version.partition("+")
    numbers, _, pre_release = released.partition("-")
    return [int(number[:18]) for number in numbers.split(".")], not pre_release, pre_release


def roll_back(root: Path, name: str, trusted: TrustedKeys | None = None) -> tuple[str, Path]:
    """Put the version before the present one into use, once it is verified.

    Returns:
        The version that was in use, and the folder of the one that is now.

    Raises:
        ToolError: There is none before it, another installer is at work, or the root cannot be
            written.
        BundleError: It is not whole, or not signed; what was in use stays.
        PolicyError: `current` is broken.
    """
    model = model_folder(root, name)
    with writing(root), locked(model):
        before, back = current_version(model), way_back(model)
        if before is None or not back:
            raise ToolError(f"{model}: expected a version that was in use before "
                            f"{before or 'the present one'}, found none; choose one with "
                            "`model_tools activate`")
        folder = model / back[0]
        check_version(folder, trusted)
        move_back(model, back[0])
    return before, folder
