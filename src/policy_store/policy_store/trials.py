# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Begin and end trials of installed versions; a node on the robot judges the version on trial.

The version in use stays in use until the trial is kept: `current` never points to a version on
trial, so nothing has to be undone, whatever happens.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import socket
from collections.abc import Collection
from pathlib import Path
from typing import Any

from policy_core.bundle.bundle import Bundle
from policy_core.bundle.contract_difference import contract_differences, not_accepted
from policy_core.bundle.schema import read_bytes
from policy_core.bundle.signature import TrustedKeys
from policy_core.bundle.store import TRIALS_FILE, current_version
from policy_core.errors import PolicyError
from policy_core.safe_files import open_regular
from policy_store.durable import FILE_MODE, locked, sync_folder, writing
from policy_store.installed import check_version, model_folder, version_folder
from policy_store.statements import refuse_revoked
from policy_store.trial_file import settings_of_trial, unchecked_gates
from policy_store.trial_record import (
    TrialEvent,
    TrialState,
    VersionTrial,
    bad_trial,
    newest_trial,
    put_on_record,
    read_trials,
    require_room,
)


def begin_trial(
    root: Path,
    name: str,
    version: str,
    trial_file: Path,
    trusted: TrustedKeys | None = None,
    *,
    again: bool = False,
    node_user: str = "",
) -> VersionTrial:
    """Put an installed version on trial, after verifying it and the version in use.

    This ends an undecided trial of another version. `node_user` is the user who runs the policy
    node and must be able to write the record; if "", the record keeps its owner, or belongs to the
    user who creates it.
    """
    model = model_folder(root, name)
    folder = version_folder(model, version)
    owner = _owner(node_user)
    with writing(root), locked(model):
        bundle = check_version(folder, trusted)
        content = read_bytes(trial_file)
        settings = settings_of_trial(content, trial_file, bundle.contract)
        current = current_version(model)
        if current is None:
            raise PolicyError(
                f"{model}: expected a version in use (the fallback if the trial fails), found "
                f"none; activate one without --trial: `policy_store activate {name} VERSION`"
            )
        if current == version:
            raise PolicyError(
                f"{model}: expected a version other than the one in use, found {version}; a "
                "failed trial returns to the version in use"
            )
        refuse_revoked(model, version)
        require_accepted(
            check_version(model / current, trusted),
            bundle,
            settings.accepted_differences,
            f"accepted_differences of {trial_file}",
        )
        require_room(model)  # before the trial of another version ends
        require_good(model, version, again=again)
        end_trial(model, f"a trial of {version} began")
        _make_record(model, owner)
        return put_on_record(
            model,
            settings,
            unchecked_gates=unchecked_gates(settings, bundle.contract),
            version=version,
            version_before=current,
            bundle_sha256=bundle.sha256,
            trial_sha256=hashlib.sha256(content).hexdigest(),
        )


def require_accepted(
    in_use: Bundle, candidate: Bundle, accepted: Collection[str], where: str
) -> None:
    """Raise PolicyError if the candidate's contract differs in keys that are not accepted.

    `where` says where the accepted keys come from, for the message.
    """
    found = not_accepted(contract_differences(in_use.contract, candidate.contract), accepted)
    if found:
        raise PolicyError(
            f"{candidate.path}: expected the contract of the version in use, "
            f"{in_use.contract.version}, or differences that are accepted, found",
            *(f"  {one}" for one in found),
            f"name these keys in {where} if the differences are intended",
        )


def require_good(model: Path, version: str, *, again: bool) -> None:
    """Raise PolicyError if a version failed its trial; with `again`, clear that mark instead."""
    bad = bad_trial(model, version)
    if bad is None:
        return
    if not again:
        raise PolicyError(
            f"{bad}: expected a version that did not fail its trial, found: {bad.reason}; "
            "--again allows it again (in a roll-out: -e policy_again=true)"
        )
    bad.append(TrialEvent.ALLOWED, reason="requested with --again")


def end_trial(model: Path, reason: str, then: str = "") -> None:
    """End an undecided trial; the version in use does not change.

    If a version, `then`, is in use from now on, another version's trial ends even if it was kept,
    since `keep` must not restore a version that was replaced on purpose.
    """
    newest = newest_trial(model)
    if newest is None:
        return
    is_left = newest.state is TrialState.KEPT and then not in ("", newest.version)
    if newest.nodes_take_it or is_left:
        newest.append(TrialEvent.ENDED, reason=reason)


def end_undecided(root: Path, name: str, trusted: TrustedKeys | None = None) -> VersionTrial:
    """End the undecided trial, after verifying the version in use; return the trial."""
    model = model_folder(root, name)
    with writing(root), locked(model):
        trial = newest_trial(model)
        if trial is None or not trial.nodes_take_it:
            raise PolicyError(f"{model}: expected a version on trial, found {found_words(trial)}")
        check_version(model / trial.version_before, trusted)
        end_trial(model, "ended on request")
    return newest_trial(model) or trial


def trial_status(root: Path, name: str) -> dict[str, Any]:
    """Return the newest trial of a bundle, for JSON; its `state` is "none" if there is no trial."""
    model = model_folder(root, name)
    current, trial = current_version(model), newest_trial(model)
    if trial is None:
        return {"name": name, "state": "none", "nodes_take": current, "current": current}
    recorded = (
        *("version", "version_before", "is_bad", "run_time_s", "gate", "value", "limit"),
        *("reason", "bundle_sha256", "trial_sha256", "begun_time"),
    )
    return {
        "name": name,
        "state": trial.state.value,
        "nodes_take": trial.version if trial.nodes_take_it else current,
        "current": current,
        "host": socket.gethostname(),  # all other values may be equal on two robots
        "running": trial.runner is not None,
        "run_time_limit_s": trial.settings.run_time_s,
        "unchecked_gates": list(trial.unchecked_gates),
        "counts": dict(trial.counts),
        "changed_time": trial.time,
        **{key: getattr(trial, key) for key in recorded},
    }


def trial_words(model: Path) -> dict[str, str]:
    """Describe the state of each version's last trial, by version."""
    return {trial.version: _words(trial) for trial in read_trials(model)}


def found_words(trial: VersionTrial | None) -> str:
    """Describe the version and state of a trial, for a message."""
    return "no trial" if trial is None else f"{trial.version} ({_words(trial)})"


def _words(trial: VersionTrial) -> str:
    if trial.state is TrialState.OPEN:
        return "on trial"
    if trial.state is TrialState.FAILED and not trial.is_bad:
        return "trial failed, allowed again"
    return f"trial {trial.state.value}"


def _owner(node_user: str) -> int | None:
    if not node_user:
        return None
    try:
        return pwd.getpwnam(node_user).pw_uid
    except KeyError:
        raise PolicyError(
            f"--node-user: expected a user of this machine, found {node_user!r}"
        ) from None


def _make_record(model: Path, owner: int | None) -> None:
    """Create the record if it is missing, and give it to the node's user."""
    file = model / TRIALS_FILE
    handle = open_regular(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)
    try:
        os.fchmod(handle, FILE_MODE)
        if owner is not None and os.fstat(handle).st_uid != owner:
            os.fchown(handle, owner, -1)
        os.fsync(handle)
    finally:
        os.close(handle)
    sync_folder(model)
