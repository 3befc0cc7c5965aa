# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What every kind of policy offers, so that a host need not know which kind it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from policy_core.bundle.contract import Artifact
from policy_core.guard.limits import Limits
from policy_core.interfaces import Backend, Tensor
from policy_inference.backends.registry import OpenedModels, Options
from policy_inference.kinds.opening import B, OpenedPolicy, OpenRequest

if TYPE_CHECKING:  # a node that only runs a policy compares nothing
    from policy_inference.comparison.limits import Check
    from policy_inference.comparison.open_loop import Difference
    from policy_inference.comparison.rows import Rows
    from policy_inference.kinds.chunk import OpenedChunks


class PolicyKind(Protocol[B]):
    """What a host opens: sets, or policies of one kind alone."""

    @property
    def bundle(self) -> type[B]:
        """Type of its bundles."""

    def inputs(self, bundle: B, limits: Limits) -> Iterator[str]:
        """Yield the inputs of a policy, with all that a subscription depends on."""

    def open(
        self,
        request: OpenRequest,
        options: Options,
        bundle: B,
        limits: Limits,
        clock: Callable[[], int],
    ) -> OpenedPolicy[B]:
        """Open the models of a bundle that was loaded, and make a controller over them.

        Args:
            request: What is asked for.
            options: Those of the request that are meant for its back ends.
            bundle: Of the policy.
            limits: In force.
            clock: Of the controller, ns.
        """

    def open_proven(
        self, request: OpenRequest, bundle: B, limits: Limits, clock: Callable[[], int]
    ) -> OpenedPolicy[B]:
        """Open a bundle beside a policy that runs, and prove its models on their golden rows.

        Args:
            request: What is asked for.
            bundle: Of the policy.
            limits: In force.
            clock: Of the controller, ns.
        """


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenedMember:
    """A policy that is open and proven, to run as a member of a set.

    Attributes:
        runner: What it runs on, as the `MemberPolicy` of its kind takes it.
        models: Its models; none for a policy without a model.
        close: Ends what it runs on, and closes the models.
        recorded: The model whose tensors a flight recorder notes in each tick, where it has one.
        chunks: Returns its chunks, once the set has made a member of it; None where it has none.
    """

    runner: Any
    models: OpenedModels
    close: Callable[[], None]
    recorded: Backend | None = None
    chunks: Callable[[Any], OpenedChunks] | None = None


class MemberKind(PolicyKind[B], Protocol[B]):
    """What differs between kinds of members: opening one, a policy on its rows, how it is judged.

    A kind inherits it. One without a model has golden rows without arrays, plays nothing, and finds
    no difference.
    """

    def open_member(
        self,
        request: OpenRequest,
        options: Options,
        name: str,
        bundle: B,
        limits: Limits,
        clock: Callable[[], int],
    ) -> OpenedMember:
        """Open a policy as a member of a set, prove it on its golden rows, and warm it up.

        Args:
            request: What is asked for.
            options: Those of the request that are meant for its back ends.
            name: Of the member.
            bundle: Of the policy.
            limits: In force for the set.
            clock: Of the controller, ns.
        """

    def open_proven(
        self, request: OpenRequest, bundle: B, limits: Limits, clock: Callable[[], int]
    ) -> OpenedPolicy[B]:
        from policy_inference.kinds.parity import open_with_parity

        return open_with_parity(self, request, bundle, limits, clock)

    @property
    def runs(self) -> str:
        """What several runs of such a policy are called in messages."""

    def golden_rows(self, bundle: B) -> Rows:
        """Read the golden rows of a bundle."""

    def require_enough(self, bundle: B, rows: Rows) -> None:
        """Raise BundleError unless golden rows can tell one function from another."""

    def play(self, bundle: B, models: Mapping[str, Backend], rows: Rows) -> dict[str, Tensor]:
        """Run a policy row by row.

        Args:
            bundle: Of the policy.
            models: Opened, by their keys in the contract; their arrays are overwritten.
            rows: What it gets.

        Returns:
            What it computed [rows, ...], with the names that `Rows.outputs` has, and more.
        """

    def differences(
        self,
        bundle: B,
        found: Mapping[str, Tensor],
        expected: Mapping[str, Tensor],
        numbers: npt.NDArray[np.int64] | None = None,
    ) -> tuple[Difference, ...]:
        """Measure what `play` returned against what is expected; what commands joints is first.

        Args:
            bundle: Of the policy.
            found: What was computed.
            expected: `Rows.outputs`, or what a reference computed.
            numbers: Of the rows in their source; 0, 1, ... if absent.
        """

    def checks(
        self,
        bundle: B,
        backend: str,
        entries: Mapping[str, Artifact],
        differences: tuple[Difference, ...],
        source: str,
    ) -> tuple[Check, ...]:
        """Hold differences against the limits of artifacts.

        Args:
            bundle: May state limits.
            backend: Name of the back end.
            entries: What it opened, by the key of the model in the contract.
            differences: As `differences` returns them.
            source: Of the rows.
        """
