# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Open a policy that may replace a node's running policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from policy_core.control.motions import Stand
from policy_core.control.replacing import require_replaceable
from policy_core.guard.limits import effort_limit, limits_in_force
from policy_inference.kinds.opening import B, OpenedPolicy, OpenRequest, PolicyKind
from policy_inference.nodes.loading import forwarded_to, load_asked, narrowed, on_trial
from policy_inference.nodes.outputs import require_expressible
from policy_inference.nodes.rclpy_gaps import Logger
from policy_inference.rehearsal import rehearse


def open_replacement(
    kind: PolicyKind[B],
    request: OpenRequest,
    running: OpenedPolicy[Any],
    clock: Callable[[], int],
    logger: Logger,
) -> OpenedPolicy[B]:
    """Open a bundle that may replace a running one, and verify its models on this machine.

    Checks that need no device come first, since opening may take minutes. Before these checks, a
    child process reads the bundle's files, so no pattern or array in them can block this process,
    which controls a robot.

    Args:
        kind: Kind of policy that the node runs.
        request: The request.
        running: The policy to replace; not modified.
        clock: The controller's clock.
        logger: Logger for the progress.
    """
    request = on_trial(request, logger)
    bundle = load_asked(kind, request, rehearse(request.source, request.public_key))
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
        return narrowed(kind.open_proven(request, bundle, limits, clock))
