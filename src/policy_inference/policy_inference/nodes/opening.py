# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Open a policy of any kind: what a node is asked to run, and what it then runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Generic, Protocol, TypeVar

from policy_inference.backends.base import BackendBase
from policy_inference.backends.registry import Options, parse_options
from policy_inference.bundle.bundle import Bundle
from policy_inference.bundle.load import load_bundle
from policy_inference.bundle.signature import trusted_keys
from policy_inference.core.controller import Controller
from policy_inference.core.distribution import DistributionWatch
from policy_inference.core.latency import LatencyWindow
from policy_inference.core.limits import Limits, StricterLimits, effort_limit, limits_in_force
from policy_inference.core.motions import Stand
from policy_inference.core.replacing import require_replaceable
from policy_inference.errors import RefusedError
from policy_inference.nodes.forwarding import forwarded_to
from policy_inference.nodes.outputs import require_expressible
from policy_inference.nodes.rclpy_gaps import Logger
from policy_inference.self_test.reading import rehearse

B = TypeVar("B", bound=Bundle)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """Which policy to open, and with what.

    Attributes:
        bundle: Folder, or name of an installed one.
        public_key: Keys of which one must have signed it, beside those of the environment; "" for
            none.
        backends: Names, the preferred one first.
        options: Of backends.
        stricter_limits: Operating limits.
        output: Kind of message that its targets are published as.
    """

    bundle: str
    public_key: str
    backends: Sequence[str]
    options: Options
    stricter_limits: StricterLimits
    output: str

    @staticmethod
    def of(values: Mapping[str, Any]) -> OpenRequest:
        """Return what the parameters of the node ask for.

        Raises:
            BackendError: An option is none.
        """
        return OpenRequest(
            bundle=values["bundle"],
            public_key=values["public_key"],
            backends=_listed(values["backend"]),
            output=values["output"],
            options=parse_options(_listed(values["backend_options"])),
            stricter_limits=StricterLimits(
                **{field.name: values[f"safety.{field.name}"] for field in fields(StricterLimits)}
            ),
        )

    def for_bundle(self, bundle: str, backend: str) -> OpenRequest:
        """Return a request for another bundle, on other backends unless `backend` is empty.

        Raises:
            RefusedError: No bundle is named.
        """
        if not bundle.strip():
            raise RefusedError(
                "load refused: bundle: expected a folder or the name of an "
                "installed bundle, found nothing"
            )
        return replace(self, bundle=bundle, backends=_listed(backend) or self.backends)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenedPolicy(Generic[B]):
    """A policy that can run.

    Attributes:
        request: What was asked for.
        bundle: Its bundle.
        limits: Limits in force.
        backends: Its opened models, one or more, all on one back end.
        skipped: Why each backend before that one in the list did not open.
        controller: Nothing was commanded by it yet.
        latency: How long its ticks take.
    """

    request: OpenRequest
    bundle: B
    limits: Limits
    backends: tuple[BackendBase, ...]
    skipped: tuple[str, ...]
    controller: Controller
    latency: LatencyWindow = field(default_factory=LatencyWindow)

    def __str__(self) -> str:
        """Return what runs where, e.g. for a log."""
        contract = self.bundle.contract
        return (
            f"{contract.name} {contract.version} ({self.bundle.path}) on {self.backend.name}: "
            f"{self.runs_on}; {contract.rate_hz:g} Hz"
        )

    @property
    def backend(self) -> BackendBase:
        """The first model: what it says of runtime and device holds for all."""
        return self.backends[0]

    @property
    def runs_on(self) -> str:
        """Runtime, device and precision as the back end reports them."""
        return "; ".join(
            dict.fromkeys(", ".join(backend.details.values()) for backend in self.backends)
        )

    @property
    def problem(self) -> str:
        """Why no run can succeed any more; empty where nothing speaks against one."""
        return next(filter(None, (backend.problem() for backend in self.backends)), "")

    @property
    def left_behind(self) -> bool:
        """Whether a run hangs in a model, so that its thread cannot be ended; after `close`."""
        return False

    def observed(self) -> DistributionWatch | None:
        """Return what watches the observation, where there is something to compare it with."""
        return None

    def close(self) -> None:
        """Close the models."""
        for backend in self.backends:
            backend.close()


P = TypeVar("P", bound=OpenedPolicy[Any])


class PolicyKind(Protocol[B, P]):
    """What differs between kinds of policies when one is opened."""

    @property
    def bundle(self) -> type[B]:
        """Type of its bundles."""

    def inputs(self, bundle: B, limits: Limits) -> Iterator[str]:
        """Yield the inputs of a policy, with all that a subscription depends on."""

    def require_provable(self, bundle: B) -> None:
        """Raise BundleError unless the golden rows can prove a model."""

    def open(
        self,
        request: OpenRequest,
        options: Options,
        bundle: B,
        limits: Limits,
        clock: Callable[[], int],
    ) -> P:
        """Open the models of a bundle that was loaded.

        Raises:
            PolicyError: They cannot be used, with the reason; nothing is open then.
        """

    def prove(self, opened: P) -> None:
        """Raise PolicyError unless the models compute here what the golden rows say."""


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
        return kind.open(request, request.options, bundle, limits, clock)


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
    kind.require_provable(bundle)
    # Those of a backend that is not asked for now are for another time.
    options = {name: given for name, given in request.options.items() if name in request.backends}
    with forwarded_to(logger):
        opened = kind.open(request, options, bundle, limits, clock)
        try:
            kind.prove(opened)
        except BaseException:
            opened.close()
            raise
    return opened


def _load(kind: PolicyKind[B, P], request: OpenRequest, sha256: str | None = None) -> B:
    keys = trusted_keys(request.public_key)
    return load_bundle(request.bundle, keys, kind=kind.bundle, sha256=sha256)


def _listed(text: str) -> list[str]:
    """Return the entries of a comma-separated text."""
    return [entry for part in text.split(",") if (entry := part.strip())]
