# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""From the name of a joint policy's bundle to a controller over its opened model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rclpy.impl.rcutils_logger import RcutilsLogger

from policy_inference.backends.registry import Options, open_backend
from policy_inference.bundle.installed import open_bundle
from policy_inference.bundle.load import Bundle
from policy_inference.bundle.signature import trusted_keys
from policy_inference.comparison.rows import golden_rows
from policy_inference.core.joint_controller import joint_controller
from policy_inference.core.limits import Limits, effort_limit, limits_in_force
from policy_inference.core.motions import Stand
from policy_inference.core.observed import Observed
from policy_inference.core.replacing import require_replaceable
from policy_inference.flight.tap import Tap
from policy_inference.nodes.forwarding import forwarded_to
from policy_inference.nodes.opened import OpenedPolicy, Order
from policy_inference.nodes.outputs import require_expressible
from policy_inference.self_test.parity import require_enough, require_parity
from policy_inference.self_test.reading import rehearse


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opened(OpenedPolicy):
    """A joint policy that can run.

    Attributes:
        tap: The model as the controller runs it, for a flight recorder to look on.
    """

    bundle: Bundle
    tap: Tap

    def observed(self) -> Observed | None:
        """Return what compares the observation with the healthy run's."""
        return Observed(self.bundle.contract, self.backend.inputs)


def open_policy(order: Order, clock: Callable[[], int], logger: RcutilsLogger) -> Opened:
    """Open a bundle.

    Args:
        order: What is wanted.
        clock: Of the controller.
        logger: Tells the progress.

    Raises:
        PolicyError: It cannot be used, with the reason.
    """
    bundle = _read(order)
    limits = limits_in_force(bundle.contract, order.tightening)
    return _open(order, order.options, bundle, limits, clock, logger)


def open_replacement(
    order: Order, running: Opened, clock: Callable[[], int], logger: RcutilsLogger
) -> Opened:
    """Open a bundle that may take the place of another, and prove its model on this machine.

    What can be known without the device is found out first, since opening may take minutes. The
    bundle's files are read in another process before, which no pattern or array in them can hold up
    for long: this one drives a robot meanwhile.

    Args:
        order: What is wanted.
        running: What it shall replace; it is only looked at.
        clock: Of the controller.
        logger: Tells the progress.

    Raises:
        PolicyError: It cannot be used, not instead of the other one, or its model computes
            something else here than its golden rows say; nothing of it is open then.
    """
    bundle = _read(order, rehearse(order.bundle, order.public_key))
    limits = limits_in_force(bundle.contract, order.tightening)
    require_replaceable(running.bundle.contract, running.limits, bundle, limits)
    require_expressible(order.output, bundle.contract)
    running.controller.require_stand_like(
        Stand(bundle.contract, effort_limit(bundle.contract, limits)))
    require_enough(bundle, golden_rows(bundle))
    # Those of a backend that is not asked for now are for another time.
    options = {name: given for name, given in order.options.items() if name in order.backends}
    opened = _open(order, options, bundle, limits, clock, logger)
    try:
        require_parity(bundle, opened.backend)
    except BaseException:
        opened.close()
        raise
    return opened


def _read(order: Order, sha256: str | None = None) -> Bundle:
    return open_bundle(order.bundle, trusted_keys(order.public_key), sha256=sha256)


def _open(
    order: Order, options: Options, bundle: Bundle, limits: Limits, clock: Callable[[], int],
    logger: RcutilsLogger,
) -> Opened:  # fmt: skip
    with forwarded_to(logger):
        # After that the controller gives up anyway.
        backend, skipped = open_backend(bundle, order.backends, options,
                                        run_timeout_s=limits.longest_gap_ns * 1e-9)
        backend.warm_up()
    tap = Tap(backend)
    return Opened(order=order, bundle=bundle, limits=limits, backends=(backend,),
                  skipped=skipped, tap=tap,
                  controller=joint_controller(bundle, tap, limits, clock))
