# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a node was asked to run, and what it runs: the same for all kinds of policies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from policy_inference.backends.base import BackendBase
from policy_inference.backends.registry import Options, parse_options
from policy_inference.bundle.load import BundleFolder
from policy_inference.core.controller import Controller
from policy_inference.core.latency import LatencyWindow
from policy_inference.core.limits import Limits, Tightening
from policy_inference.core.observed import Observed
from policy_inference.errors import RefusedError


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
class OpenedPolicy:
    """A policy that can run.

    Attributes:
        order: What was asked for.
        bundle: Its bundle.
        limits: Limits in force.
        backends: Its opened models, one or more, all on one back end.
        skipped: Why each backend before that one in the list did not open.
        controller: Nothing was commanded by it yet.
        latency: How long its ticks take.
    """

    order: Order
    bundle: BundleFolder
    limits: Limits
    backends: tuple[BackendBase, ...]
    skipped: tuple[str, ...]
    controller: Controller
    latency: LatencyWindow = field(default_factory=LatencyWindow)

    def __str__(self) -> str:
        """Return what runs where, e.g. for a log."""
        contract = self.bundle.contract
        return (f"{contract.name} {contract.version} ({self.bundle.path}) on {self.backend.name}: "
                f"{self.runs_on}; {contract.rate_hz:g} Hz")

    @property
    def backend(self) -> BackendBase:
        """The first model: what it says of runtime and device holds for all."""
        return self.backends[0]

    @property
    def runs_on(self) -> str:
        """Runtime, device and precision as the back end reports them."""
        return "; ".join(dict.fromkeys(", ".join(backend.details.values())
                                       for backend in self.backends))

    @property
    def problem(self) -> str:
        """Why no run can succeed any more; empty where nothing speaks against one."""
        return next(filter(None, (backend.problem() for backend in self.backends)), "")

    def observed(self) -> Observed | None:
        """Return what watches the observation, where there is something to compare it with."""
        return None

    def close(self) -> None:
        """Close the models."""
        for backend in self.backends:
            backend.close()


def _listed(text: str) -> list[str]:
    """Return the entries of a comma-separated text."""
    return [entry for part in text.split(",") if (entry := part.strip())]
