# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Choose the version in use, and go back to the previous version.

The activation record is a file that lists versions in order of activation, one per line. The lines
before the version in use form the way back, even if an activation was interrupted. While a version
is being activated again, it is listed twice; `settled` removes one of the two entries, depending on
the version in use.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from policy_core.bundle.bundle import Bundle
from policy_core.bundle.contract import VERSION
from policy_core.bundle.load import load_bundle
from policy_core.bundle.signature import TrustedKeys
from policy_core.bundle.statements import revoked_versions
from policy_core.bundle.store import CURRENT, current_version, installed_versions, version_order
from policy_core.errors import BundleError, PolicyError
from policy_core.safe_files import read_at_most
from policy_store.durable import locked, move_folder, switch_link, write_text, writing
from policy_store.installed import check_version, model_folder, version_folder
from policy_store.statements import refuse_revoked
from policy_store.trial_record import TrialEvent, TrialState, bad_trial, newest_trial
from policy_store.trials import (
    end_trial,
    found_words,
    require_accepted,
    require_good,
)

_log = logging.getLogger("policy_store")
FILE = "activations"
_LARGEST_BYTES = 1 << 20


def activate(
    root: Path,
    name: str,
    version: str,
    trusted: TrustedKeys | None = None,
    *,
    again: bool = False,
    accepted: Collection[str] = (),
) -> Path:
    """Put an installed version into use after verifying it; return its folder.

    This ends an undecided trial of any version. The contract is not compared with the one in use if
    the version was in use before, since it was accepted then.

    Args:
        root: Folder of all installed bundles.
        name: Bundle name.
        version: An installed version.
        trusted: Keys, one of which must have signed the version.
        again: True to allow a version that failed a trial.
        accepted: Contract keys whose values may differ from the version in use.
    """
    model = model_folder(root, name)
    folder = version_folder(model, version)
    with writing(root), locked(model):
        bundle = check_version(folder, trusted)
        refuse_revoked(model, version)
        require_good(model, version, again=again)
        _compare_with_current(model, bundle, accepted)
        warn_of_older(model, version)
        move_on(model, version, lambda: end_trial(model, f"{version} was activated", version))
    return folder


def _compare_with_current(model: Path, bundle: Bundle, accepted: Collection[str]) -> None:
    """Raise PolicyError if a version that was never in use has unaccepted contract differences.

    If the version in use is damaged, nothing is compared, so that it can still be replaced.
    """
    current, before = current_version(model), list[str]()
    with suppress(PolicyError):  # `move_on` moves a damaged record aside
        before = recorded_in(model)
    if current is None or bundle.contract.version in (current, *before):
        return
    try:
        in_use = load_bundle(model / current, kind=Bundle)
    except BundleError as error:
        _log.warning("%s: the contracts were not compared: %s", model / current, error)
        return
    require_accepted(in_use, bundle, accepted, "--accept")


def warn_of_older(model: Path, version: str) -> None:
    """Log a warning if a version is older than the one in use, since signatures do not expire."""
    current = current_version(model)
    if current is not None and is_older(version, current):
        _log.warning(
            "%s %s is older than %s, which is in use; it lacks the fixes made since",
            model.name,
            version,
            current,
        )


def warn_of_revoked(model: Path, installed: str = "") -> None:
    """Log a warning if the version just installed, or the version in use, is revoked."""
    current, revoked = current_version(model), revoked_versions(model)
    if installed in revoked and installed != current:
        why = revoked[installed]
        _log.warning("%s %s is revoked: %s; it cannot be activated", model.name, installed, why)
    reason = revoked.get(current or "")
    if reason is not None:
        _log.warning(
            "%s %s, which is in use, is revoked: %s; nodes refuse it when they start: activate "
            "another version with `policy_store activate %s VERSION`",
            model.name,
            current,
            reason,
            model.name,
        )


def is_older(version: str, than: str) -> bool:
    """Return True if a version precedes the version `than` in Semantic Versioning order."""
    return version_order(version) < version_order(than)


def roll_back(root: Path, name: str, trusted: TrustedKeys | None = None) -> tuple[str, Path]:
    """Put the version before the current version into use, after verifying it.

    If a version is on trial, its trial ends, and nodes go back to the version in use. Versions that
    were revoked, or failed a trial, are skipped.

    Returns:
        The version that nodes used until now, and the folder of the version that they use from now
        on.
    """
    model = model_folder(root, name)
    with writing(root), locked(model):
        before, trial = current_version(model), newest_trial(model)
        if before is not None and trial is not None and trial.nodes_take_it:
            check_version(model / before, trusted)
            end_trial(model, "rolled back on request")
            return trial.version, model / before
        revoked = revoked_versions(model)
        back = [
            version
            for version in way_back(model)
            if version not in revoked and bad_trial(model, version) is None
        ]
        if before is None or not back:
            raise PolicyError(
                f"{model}: expected a version that was in use before "
                f"{before or 'the current one'}, found none; choose a version with "
                "`policy_store activate`"
            )
        folder = model / back[0]
        check_version(folder, trusted)
        settle(model)  # newer versions stay recorded until `move_on`
        decide = partial(end_trial, model, "rolled back on request", back[0])
        switch_link(model / CURRENT, back[0], decide)
    return before, folder


def keep_trial(root: Path, name: str, trusted: TrustedKeys | None = None) -> Path:
    """Put the version that passed its trial into use, after verifying it; return its folder."""
    model = model_folder(root, name)
    with writing(root), locked(model):
        trial = newest_trial(model)
        if trial is None or trial.state not in (TrialState.PASSED, TrialState.KEPT):
            raise PolicyError(
                f"{model}: expected a version that passed its trial, found {found_words(trial)}; "
                f"`policy_store activate {name} VERSION` puts any version into use"
            )
        folder = version_folder(model, trial.version)
        check_version(folder, trusted)
        refuse_revoked(model, trial.version)
        move_on(model, trial.version, lambda: trial.append(TrialEvent.KEPT))
    return folder


def way_back(model: Path) -> list[str]:
    """Return the installed versions that were in use before the current one, the latest first."""
    current, there = current_version(model), installed_versions(model)
    if current is None:
        return []
    recorded = settled(recorded_in(model), current)
    before = recorded[: recorded.index(current)] if current in recorded else recorded
    return [version for version in reversed(before) if version in there]


def move_on(model: Path, version: str, decide: Callable[[], object]) -> None:
    """Put a version into use, and record it after the current version; drop any later entries.

    A new record replaces a damaged record, which is kept under a different name. `decide` records
    the end of a trial; see `switch_link`.
    """
    current = current_version(model)
    try:
        recorded = settled(recorded_in(model), current)
    except PolicyError:
        file = model / FILE
        move_folder(file, file.with_name(f"{FILE}.damaged.{secrets.token_hex(4)}"))
        recorded = []
    if current == version:
        decide()
        return
    if current is not None:  # a version linked by hand counts as activated
        recorded = recorded[: recorded.index(current)] if current in recorded else recorded
        recorded = [*recorded, current]
    # For the first activation, the link comes first: a record without a link means a lost link.
    if recorded:
        _write(model, [*recorded, version])
    switch_link(model / CURRENT, version, decide)
    if not recorded:
        _write(model, [version])


def settle(model: Path) -> None:
    """Rewrite the record: each version once, without versions that are not installed."""
    before, there = recorded_in(model), installed_versions(model)
    after = [one for one in settled(before, current_version(model)) if one in there]
    if after != before:
        _write(model, after)


def settled(recorded: Sequence[str], current: str | None) -> list[str]:
    """Return the record without its duplicate, if it has one.

    Only the last entry of `recorded` can repeat an earlier one. If it is the version in use, its
    activation took place, so the earlier entry is removed; otherwise, the last one is.
    """
    *before, last = recorded or ("",)
    if last not in before:
        return list(recorded)
    return [one for one in before if one != last] + [last] if current == last else before


def recorded_in(model: Path) -> list[str]:
    """Return the versions in the record as stored; empty if the file is missing."""
    file = model / FILE
    try:
        found = read_at_most(file, _LARGEST_BYTES).decode("utf-8").split()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(model, _unreadable(error)) from error
    invalid = next((one for one in found if not re.fullmatch(VERSION, one)), None)
    if invalid is not None:
        raise _damaged(model, f" {invalid[:40]!r}")
    return found


def _unreadable(error: OSError | UnicodeDecodeError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return " bytes that are not UTF-8 text"
    return f": {error.strerror}"


def _damaged(model: Path, found: str) -> PolicyError:
    return PolicyError(
        f"{model / FILE}: expected the previously active versions, one per line, found{found}; "
        f"rollback is impossible: choose a version with `policy_store activate {model.name} "
        "VERSION`, which renames this file"
    )


def _write(model: Path, versions: Sequence[str]) -> None:
    write_text(model / FILE, "".join(f"{version}\n" for version in versions))
