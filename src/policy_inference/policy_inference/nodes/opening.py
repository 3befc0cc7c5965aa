# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Open the policy of a node, and one that may replace it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from policy_core.bundle.load import load_bundle
from policy_core.bundle.signature import trusted_keys
from policy_core.bundle.statements import revocation_of
from policy_core.control.motions import Stand
from policy_core.control.replacing import require_replaceable
from policy_core.errors import RefusedError
from policy_core.guard.limits import effort_limit, limits_in_force
from policy_inference.kinds.kind import P, PolicyKind
from policy_inference.kinds.opening import B, OpenedPolicy, OpenRequest
from policy_inference.kinds.parity import open_proven
from policy_inference.nodes.forwarding import forwarded_to
from policy_inference.nodes.outputs import require_expressible
from policy_inference.nodes.rclpy_gaps import Logger
from policy_inference.self_test.reading import rehearse
from policy_inference.trial.journal import TrialEvent, append_event, this_process
from policy_inference.trial.record import TrialState, VersionTrial, trial_of_bundle


def open_policy(
    kind: PolicyKind[B, P], request: OpenRequest, clock: Callable[[], int], logger: Logger
) -> P:
    """Open a bundle.

    Args:
        kind: Of policies that the node runs.
        request: Which one.
        clock: Of the controller.
        logger: For the progress.

    Raises:
        PolicyError: It cannot be used, with the reason.
    """
    request = on_trial(request, logger)
    bundle = _load(kind, request)
    limits = limits_in_force(bundle.contract, request.limits)
    with forwarded_to(logger):
        return _narrowed(kind.open(request, request.own_options, bundle, limits, clock))


def open_replacement(
    kind: PolicyKind[B, P],
    request: OpenRequest,
    running: OpenedPolicy[Any],
    clock: Callable[[], int],
    logger: Logger,
) -> P:
    """Open a bundle that may replace another one, and prove its models on this machine.

    What can be known without the device is checked first, since opening may take minutes. Before
    that, a child process reads the bundle's files, so that no pattern or array in them can hold up
    this process, which drives a robot.

    Args:
        kind: Of policies that the node runs.
        request: Which one.
        running: What it is to replace; only read here.
        clock: Of the controller.
        logger: For the progress.

    Raises:
        PolicyError: It cannot be used, or cannot replace the other one, or its models compute
            something else here than its golden rows say; nothing of it is open then.
    """
    request = on_trial(request, logger)
    bundle = _load(kind, request, rehearse(request.source, request.public_key))
    limits = limits_in_force(bundle.contract, request.limits)
    require_replaceable(
        running.bundle.contract,
        [*kind.inputs(running.bundle, running.limits)],
        bundle,
        [*kind.inputs(bundle, limits)],
    )
    require_expressible(request.output, bundle.contract)
    running.controller.require_stand_like(
        Stand(bundle.contract, effort_limit(bundle.contract, limits))
    )
    with forwarded_to(logger):
        return _narrowed(open_proven(kind, request, bundle, limits, clock))


def on_trial(request: OpenRequest, logger: Logger) -> OpenRequest:
    """Return the request with the trial of the version that it stands for, if there is one.

    A trial that was cut has failed: that is recorded, and the version before is loaded.

    Raises:
        PolicyError: The record of trials cannot be read, or lacks what happened in this process;
            or that version failed its trial.
    """
    trial = trial_of_bundle(request.bundle)
    if trial is None:
        return request
    if trial.runner == this_process():
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
    try:
        append_event(trial.file, trial.number, TrialEvent.CUT, reason=trial.reason)
    except OSError as error:  # it counts as cut all the same, whenever the record is read
        logger.error(f"{trial.file}: expected a file that this user can write, found: {error}")


def _narrowed(opened: P) -> P:
    """Narrow the velocity commands of a policy on trial."""
    trial = opened.request.trial
    if trial is not None and trial.settings.command_range is not None:
        opened.controller.command.narrow(trial.settings.command_range)
    return opened


def _load(kind: PolicyKind[B, P], request: OpenRequest, sha256: str | None = None) -> B:
    keys = trusted_keys(request.public_key)
    if request.trial is not None:
        sha256 = request.trial.bundle_sha256
    bundle = load_bundle(request.source, keys, kind=kind.bundle, sha256=sha256)
    if revoked := revocation_of(bundle):
        raise RefusedError(revoked)
    return bundle
