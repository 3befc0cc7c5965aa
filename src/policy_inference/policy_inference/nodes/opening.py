# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Opens the requested policy of a node, with its progress in the node's log."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from policy_core.bundle.load import load_bundle, trusted_keys
from policy_core.bundle.store import TRIALS_FILE, find_revocation, named_folder
from policy_core.errors import RefusedError
from policy_core.guard.limits import limits_in_force
from policy_inference.kinds.kind import PolicyKind
from policy_inference.kinds.opening import B, OpenedPolicy, OpenRequest
from policy_inference.nodes.rclpy_gaps import Logger

if TYPE_CHECKING:  # not needed by a bundle without trials
    from policy_store.trial_record import VersionTrial

_SOURCE = logging.getLogger("policy_inference")


def open_policy(
    kind: PolicyKind[B], request: OpenRequest, clock: Callable[[], int], logger: Logger
) -> OpenedPolicy[B]:
    """Open a bundle.

    Args:
        kind: Kind of policies that the node runs.
        request: The request.
        clock: Clock of the controller.
        logger: Logger for the progress.
    """
    request = on_trial(request, logger)
    bundle = load_asked(kind, request)
    limits = limits_in_force(bundle.contract, request.limits)
    with forwarded_to(logger):
        return narrowed(kind.open(request, request.own_options, bundle, limits, clock))


def has_trials(bundle: str) -> bool:
    """Return true if an installed bundle has a trial record, or if that cannot be read.

    Args:
        bundle: Requested bundle; a path has no trial.
    """
    folder = named_folder(bundle)
    if folder is None:
        return False
    try:
        (folder / TRIALS_FILE).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def on_trial(request: OpenRequest, logger: Logger) -> OpenRequest:
    """Return the request with the trial of its version, if there is one.

    An interrupted trial has failed: this is recorded, and the previous version is loaded.
    """
    if not has_trials(request.bundle):
        return request
    from policy_store.trial_record import THIS_PROCESS, TrialState, trial_of_bundle

    trial = trial_of_bundle(request.bundle)
    if trial is None:
        return request
    if trial.runner == THIS_PROCESS:
        raise RefusedError(
            f"{trial.file}: expected the end of the last run of {trial}, found its beginning only; "
            "ask again when the record has been written"
        )
    if trial.state is TrialState.FAILED:
        logger.warning(f"{trial} failed its trial: {trial.reason}")
        if not trial.is_recorded:
            _record_cut(trial, logger)
    return replace(request, trial=trial) if trial.nodes_take_it else request


def _record_cut(trial: VersionTrial, logger: Logger) -> None:
    from policy_store.trial_record import TrialEvent

    try:
        trial.append(TrialEvent.CUT, reason=trial.reason)
    except OSError as error:  # it counts as interrupted anyway, whenever the record is read
        logger.error(f"{trial.file}: expected a file that this user can write, found: {error}")


def narrowed(opened: OpenedPolicy[B]) -> OpenedPolicy[B]:
    trial = opened.request.trial
    if trial is not None and trial.settings.command_range is not None:
        opened.controller.command.narrow(trial.settings.command_range)
    return opened


def load_asked(kind: PolicyKind[B], request: OpenRequest, sha256: str | None = None) -> B:
    """Load the requested bundle, and check that it may run.

    Args:
        kind: Kind of policies that the node runs.
        request: The request.
        sha256: Required hash of its contract, if known.
    """
    keys = trusted_keys(request.public_key)
    if request.trial is not None:
        sha256 = request.trial.bundle_sha256
    bundle = load_bundle(request.source, keys, kind=kind.bundle, sha256=sha256)
    if revoked := find_revocation(bundle):
        raise RefusedError(revoked)
    return bundle


class _Forward(logging.Handler):
    """Writes each record with the node's logger."""

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        # rclpy does not accept two severities from one line of code.
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)


@contextmanager
def forwarded_to(logger: Logger) -> Iterator[None]:
    """Forward the package's own log to a node's log, for example the progress of a build.

    Only while a node is configured: in a tick, a log that blocks would delay a command.
    """
    handler, level = _Forward(logger), _SOURCE.level
    _SOURCE.addHandler(handler)
    _SOURCE.setLevel(logging.INFO)
    try:
        yield
    finally:
        _SOURCE.removeHandler(handler)
        _SOURCE.setLevel(level)
