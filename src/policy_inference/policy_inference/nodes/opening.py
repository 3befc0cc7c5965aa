# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""From the name of a bundle to a controller over its opened model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from rclpy.impl.rcutils_logger import RcutilsLogger

from policy_inference.backends.base import BackendBase
from policy_inference.backends.registry import Options, open_backend, parse_options
from policy_inference.bundle.installed import open_bundle
from policy_inference.bundle.load import Bundle
from policy_inference.bundle.signature import trusted_keys
from policy_inference.comparison.rows import golden_rows
from policy_inference.core.controller import Controller
from policy_inference.core.joint_controller import joint_controller
from policy_inference.core.latency import LatencyWindow
from policy_inference.core.limits import Limits, Tightening, effort_limit, limits_in_force
from policy_inference.core.motions import Stand
from policy_inference.core.replacing import require_replaceable
from policy_inference.errors import RefusedError
from policy_inference.flight.tap import Tap
from policy_inference.nodes.forwarding import forwarded_to
from policy_inference.nodes.outputs import require_expressible
from policy_inference.self_test.parity import require_enough, require_parity


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Which policy is wanted, and with what.

    Attributes:
        bundle: Folder, or name of an installed one.
        public_key: Keys of which one must have signed it, beside those of the environment; "" for
            none.
        backends: Names, the preferred one first.
        options: Of backends.
        tightening: Operating limits.
        output: Kind of message that its targets are published as.
    """

    bundle: str
    public_key: str
    backends: Sequence[str]
    options: Options
    tightening: Tightening
    output: str

    @staticmethod
    def of(values: Mapping[str, Any]) -> Order:
        """Return what the parameters of the node ask for.

        Raises:
            BackendError: An option is none.
        """
        return Order(
            bundle=values["bundle"], public_key=values["public_key"],
            backends=_listed(values["backend"]), output=values["output"],
            options=parse_options(_listed(values["backend_options"])),
            tightening=Tightening(**{field.name: values[f"safety.{field.name}"]
                                     for field in fields(Tightening)}))  # fmt: skip

    def for_bundle(self, bundle: str, backend: str) -> Order:
        """Return the order of another bundle, on other backends unless `backend` is empty.

        Raises:
            RefusedError: No bundle is named.
        """
        if not bundle.strip():
            raise RefusedError("load refused: bundle: expected a folder or the name of an "
                               "installed bundle, found nothing")
        return replace(self, bundle=bundle, backends=_listed(backend) or self.backends)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Opened:
    """A policy that can run.

    Attributes:
        order: What was asked for.
        bundle: Its bundle.
        limits: Limits in force.
        backend: The opened model.
        skipped: Why each backend before that one in the list did not open.
        tap: The same model as the controller runs it, for a flight recorder to look on.
        controller: Nothing was commanded by it yet.
        latency: How long its ticks take.
    """

    order: Order
    bundle: Bundle
    limits: Limits
    backend: BackendBase
    skipped: tuple[str, ...]
    tap: Tap
    controller: Controller
    latency: LatencyWindow = field(default_factory=LatencyWindow)

    def __str__(self) -> str:
        """Return what runs where, e.g. for a log."""
        contract = self.bundle.contract
        return (f"{contract.name} {contract.version} ({self.bundle.path}) on {self.backend.name}: "
                f"{', '.join(self.backend.details.values())}; {contract.rate_hz:g} Hz")


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

    What can be known without the device is found out first, since opening may take minutes.

    Args:
        order: What is wanted.
        running: What it shall replace; it is only looked at.
        clock: Of the controller.
        logger: Tells the progress.

    Raises:
        PolicyError: It cannot be used, not instead of the other one, or its model computes
            something else here than its golden rows say; nothing of it is open then.
    """
    bundle = _read(order)
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
        opened.backend.close()
        raise
    return opened


def _read(order: Order) -> Bundle:
    return open_bundle(order.bundle, trusted_keys(order.public_key))


def _open(
    order: Order, options: Options, bundle: Bundle, limits: Limits, clock: Callable[[], int],
    logger: RcutilsLogger,
) -> Opened:  # fmt: skip
    with forwarded_to(logger):
        # After that the controller gives up anyway.
        backend, skipped = open_backend(bundle, order.backends, options,
                                        run_timeout_s=limits.longest_gap_ns * 1e-9)
    tap = Tap(backend)
    return Opened(order=order, bundle=bundle, limits=limits, backend=backend, skipped=skipped,
                  tap=tap, controller=joint_controller(bundle, tap, limits, clock))


def _listed(text: str) -> list[str]:
    """Return the entries of a comma-separated text."""
    return [entry for part in text.split(",") if (entry := part.strip())]
