# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Open the policy of a node, and one that may replace it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from policy_inference.bundle.load import load_bundle
from policy_inference.bundle.signature import trusted_keys
from policy_inference.core.limits import effort_limit, limits_in_force
from policy_inference.core.motions import Stand
from policy_inference.core.replacing import require_replaceable
from policy_inference.kinds.kind import P, PolicyKind
from policy_inference.kinds.opening import B, OpenedPolicy, OpenRequest
from policy_inference.kinds.parity import require_parity
from policy_inference.nodes.forwarding import forwarded_to
from policy_inference.nodes.outputs import require_expressible
from policy_inference.nodes.rclpy_gaps import Logger
from policy_inference.self_test.reading import rehearse


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
    bundle = _load(kind, request)
    limits = limits_in_force(bundle.contract, request.stricter_limits)
    with forwarded_to(logger):
        return kind.open(request, request.own_options, bundle, limits, clock)


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
    bundle = _load(kind, request, rehearse(request.bundle, request.public_key))
    limits = limits_in_force(bundle.contract, request.stricter_limits)
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
    rows = kind.golden_rows(bundle)
    kind.require_enough(bundle, rows)
    # Those of a backend that is not asked for now are for another time.
    options = {name: given for name, given in request.options.items() if name in request.backends}
    with forwarded_to(logger):
        opened = kind.open(request, options, bundle, limits, clock)
        try:
            require_parity(kind, bundle, opened.models, rows)
        except BaseException:
            opened.close()
            raise
    return opened


def _load(kind: PolicyKind[B, P], request: OpenRequest, sha256: str | None = None) -> B:
    keys = trusted_keys(request.public_key)
    return load_bundle(request.bundle, keys, kind=kind.bundle, sha256=sha256)
