# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""List, verify and prune installed bundles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policy_core.bundle.bundle import HOSTED_FILES
from policy_core.bundle.signature import TrustedKeys, signature_path
from policy_core.bundle.statements import kept_statements, revoked_versions
from policy_core.bundle.store import CURRENT, current_version, installed_versions, read_record
from policy_core.errors import BundleError, PolicyError
from policy_store.activation import recorded_in, settle, way_back
from policy_store.durable import (
    hidden,
    is_locked,
    locked,
    move_folder,
    remove,
    writing,
)
from policy_store.installed import (
    check_version,
    leftovers,
    model_folder,
    models_in,
    version_folder,
)
from policy_store.trial_record import newest_trial
from policy_store.trials import trial_words

STEPS_BACK = 2
"""Number of versions before the version in use that are never pruned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """Result of verifying a version, or the folder with all versions of a bundle.

    Attributes:
        folder: The verified folder.
        version: The version; "" for the folder with all versions.
        problem: The problem; "" if there is none.
        notes: Harmless findings.
        signed_by: Fingerprint of the key that signed the version; None if no signature is required.
    """

    folder: Path
    version: str = ""
    problem: str = ""
    notes: Sequence[str] = ()
    signed_by: str | None = None


def verify(
    root: Path,
    name: str | None = None,
    version: str | None = None,
    trusted: TrustedKeys | None = None,
) -> list[Verified]:
    """Verify installed versions, and the folders of their bundles.

    Args:
        root: Folder of all installed bundles.
        name: Bundle name; None for all bundles.
        version: Version to verify, or "current" for the version in use; None for all.
        trusted: Keys, one of which must have signed each version.

    Raises:
        PolicyError: There is no such bundle or version.
    """
    models = models_in(root) if name is None else [model_folder(root, name)]
    if not models:
        raise PolicyError(
            f"{root}: expected at least one installed bundle, found none; install one "
            "with `policy_store install`, or choose another --root"
        )
    found = list[Verified]()
    for model in models:
        wanted, revoked = _wanted(model, version), dict[str, str]()
        refused: list[Any] = wanted
        with suppress(PolicyError):  # damage is reported with the bundle
            revoked |= revoked_versions(model)
            refused = wanted if version else _taken(model)
        for one in wanted:
            found.append(_version(model / one, trusted, revoked.get(one), one in refused))
        found.append(_model(model))
    return found


def _taken(model: Path) -> list[str | None]:
    """Return the version in use, and the version on trial that nodes use, if any."""
    current, trial = current_version(model), newest_trial(model)
    return [current, trial.version if trial is not None and trial.nodes_take_it else None]


def _wanted(model: Path, version: str | None) -> list[str]:
    if version is None:
        return installed_versions(model)
    if version != CURRENT:
        return [version_folder(model, version).name]
    current = current_version(model)
    if current is None:
        raise PolicyError(
            f"{model}: expected a version in use, found none; `policy_store activate "
            f"{model.name} VERSION`"
        )
    return [current]


def _version(
    folder: Path, trusted: TrustedKeys | None, revoked: str | None, is_wanted: bool
) -> Verified:
    """Verify a version; `is_wanted` decides whether a revocation is a problem or a note."""
    notes = list[str]()
    try:
        signed_by, problem = check_version(folder, trusted).signed_by, ""
    except PolicyError as error:
        signed_by, problem = None, str(error)
    if revoked is not None:
        text = f"{folder}: this version is revoked: {revoked}"
        if is_wanted:
            text += (
                f"; activate another version: `policy_store activate {folder.parent.name} VERSION`"
            )
            problem = "\n".join(filter(None, [problem, text]))
        else:
            notes.append(text)
    return Verified(
        folder=folder, version=folder.name, problem=problem, notes=notes, signed_by=signed_by
    )


def _model(model: Path) -> Verified:
    problems, left = list[str](), list[Path]()
    try:
        left = [] if is_locked(model) else leftovers(model)
    except PolicyError as error:
        problems.append(str(error))
    for check in (recorded_in, _require_link, newest_trial, kept_statements):
        try:
            check(model)
        except PolicyError as error:
            problems.append(str(error))
    return Verified(
        folder=model,
        problem="\n".join(dict.fromkeys(problems)),
        notes=[
            f"{path}: no longer in use; `policy_store prune {model.name} --force` removes it"
            for path in left
        ],
    )


def _require_link(model: Path) -> None:
    """Raise PolicyError if a version was activated but the link to the version in use is gone."""
    if current_version(model) is None and recorded_in(model):
        raise PolicyError(
            f"{model / CURRENT}: expected a link to the version in use, found nothing; "
            f"choose a version with `policy_store activate {model.name} VERSION`"
        )


def listing(root: Path) -> list[dict[str, Any]]:
    """Return the bundles below a root and their versions, for JSON, without reading models."""
    return [_listed_model(folder) for folder in models_in(root)]


def _listed_model(folder: Path) -> dict[str, Any]:
    current, back, problem = None, list[str](), None
    trials, revoked = dict[str, str](), dict[str, str]()
    try:
        current = current_version(folder)
        back = way_back(folder)
        trials = trial_words(folder)
        revoked |= revoked_versions(folder)
    except PolicyError as error:
        problem = str(error)
    versions = [
        _listed_version(folder / version, revoked) for version in installed_versions(folder)
    ]
    return {
        "name": folder.name,
        "current": current,
        "way_back": back,
        "trials": trials,
        "problem": problem,
        "versions": versions,
    }


def _listed_version(folder: Path, revoked: Mapping[str, str]) -> dict[str, Any]:
    try:
        record, problem = read_record(folder), None
    except BundleError as error:
        record, problem = {}, str(error)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return {
        "version": folder.name,
        "folder": str(folder),
        "size_bytes": size,
        "is_signed": any(signature_path(folder / name).is_file() for name in HOSTED_FILES),
        "signed_by": record.get("signed_by"),
        "installed_time": record.get("installed_time"),
        "installed_from": record.get("installed_from"),
        "revoked": revoked.get(folder.name),
        "problem": problem,
    }


def prune(root: Path, name: str, keep: int, *, force: bool) -> tuple[list[Path], list[Path]]:
    """Return the folders of old versions, and leftovers of killed installers; `force` removes them.

    A version is renamed first, so that it never exists in part. The record is updated last, because
    only then does a full disk have room for it; a rollback ignores recorded versions that are
    missing.

    The `keep` most recently installed versions, those that nodes use, and the two versions before
    the version in use are kept.
    """
    model = model_folder(root, name)
    with writing(root), locked(model):
        versions, left = _old_versions(model, keep), leftovers(model)
        if force:
            for leftover in left:
                remove(leftover)
            for folder in versions:
                place = folder.with_name(hidden(folder.name))
                move_folder(folder, place)
                remove(place)
            settle(model)
    return versions, left


def _old_versions(model: Path, keep: int) -> list[Path]:
    if keep < 0:
        raise PolicyError(f"--keep: expected 0 or more versions, found {keep}")
    versions = sorted(
        installed_versions(model), key=lambda version: _installed_time(model / version)
    )
    kept = {
        *_taken(model),
        *way_back(model)[:STEPS_BACK],
        *versions[len(versions) - keep :],
    }
    return [model / one for one in versions if one not in kept]


def _installed_time(folder: Path) -> str:
    """Return the time of installation as text that sorts by time; "" if the record is damaged."""
    try:
        return str(read_record(folder)["installed_time"])
    except BundleError:
        return ""
