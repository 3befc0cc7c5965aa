# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Verify installed versions again: hashes, signatures, the link, what killed installers left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model_tools.errors import ToolError
from model_tools.installing.activations import missing, recorded_in
from model_tools.installing.lock import is_locked
from model_tools.installing.models import (
    check_version,
    leftovers,
    model_folder,
    models_in,
    version_folder,
)
from policy_inference.bundle.signature import TrustedKeys
from policy_inference.bundle.store import CURRENT, current_version, versions_of
from policy_inference.errors import PolicyError


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What was found of a version, or of the folder of all versions of a bundle.

    Attributes:
        folder: Which.
        version: Which; "" where it is the folder of all.
        problem: What is wrong; "" where nothing is.
        notes: What should be known, and does no harm.
        signed_by: Fingerprint of the key, where signatures are asked for.
    """

    folder: Path
    version: str = ""
    problem: str = ""
    notes: Sequence[str] = ()
    signed_by: str | None = None


def verify(
    root: Path, name: str | None = None, version: str | None = None,
    trusted: TrustedKeys | None = None,
) -> list[Verified]:  # fmt: skip
    """Verify one version, all of a bundle, or all that are installed.

    Args:
        root: Folder of all bundles.
        name: Of a bundle; None for all.
        version: One of it, "current" for the one that is in use; None for all.
        trusted: Keys that must have signed them.

    Raises:
        PolicyError: What was named is not installed, or the link to what is in use is broken.
        OSError: A folder cannot be read.
    """
    models = models_in(root) if name is None else [model_folder(root, name)]
    found = list[Verified]()
    for model in models:
        found += [_version(model / one, trusted) for one in _wanted(model, version)]
        found.append(_model(model))
    return found


def _wanted(model: Path, version: str | None) -> list[str]:
    """Return the versions that are meant.

    Raises:
        ToolError: There is none such.
        PolicyError: The link to the one in use is broken.
    """
    if version is None:
        return versions_of(model)
    if version != CURRENT:
        return [version_folder(model, version).name]
    current = current_version(model)
    if current is None:
        raise ToolError(f"{model}: expected a version in use, found none; `model_tools activate "
                        f"{model.name} VERSION`")
    return [current]


def _version(folder: Path, trusted: TrustedKeys | None) -> Verified:
    try:
        signed_by, problem = check_version(folder, trusted).signed_by, ""
    except PolicyError as error:
        signed_by, problem = None, str(error)
    except OSError as error:
        signed_by = None
        problem = f"{error.filename}: expected a file that can be read, found: {error.strerror}"
    return Verified(folder=folder, version=folder.name, problem=problem, signed_by=signed_by)


def _model(model: Path) -> Verified:
    problems, notes = list[str](), list[str]()
    for look in (_left, _gone, _unlinked):
        try:
            notes += look(model)
        except PolicyError as error:
            problems.append(str(error))
    return Verified(folder=model, problem="\n".join(dict.fromkeys(problems)), notes=notes)


def _left(model: Path) -> list[str]:
    left = [] if is_locked(model) else leftovers(model)
    return [f"{path}: left by an installer that was killed; `model_tools prune {model.name} "
            "--force` removes it" for path in left]


def _gone(model: Path) -> list[str]:
    return [f"{model.name} {version} was in use, and is not installed any more"
            for version in missing(model)]


def _unlinked(model: Path) -> list[str]:
    """Return nothing; one that was never activated may lack the link.

    Raises:
        PolicyError: The link is broken, or was there once.
    """
    if current_version(model) is None and recorded_in(model):
        raise ToolError(f"{model / CURRENT}: expected a link to the version in use, found nothing; "
                        f"choose one with `model_tools activate {model.name} VERSION`")
    return []
