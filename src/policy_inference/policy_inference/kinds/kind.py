# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The interface of all kinds of policies, which makes hosts independent of the kind."""

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
    """The kind of policy that a host opens: sets, or single policies of one kind."""

    @property
    def bundle(self) -> type[B]:
        """Type of its bundles."""

    def inputs(self, bundle: B, limits: Limits) -> Iterator[str]:
        """Yield the inputs of a policy, in the form that its subscriptions depend on."""

    def open(
        self,
        request: OpenRequest,
        options: Options,
        bundle: B,
        limits: Limits,
        clock: Callable[[], int],
    ) -> OpenedPolicy[B]:
        """Open the models of a loaded bundle, and create its controller.

        Args:
            request: The request.
            options: Its options for the policy's backends.
            bundle: Bundle of the policy.
            limits: Limits in force.
            clock: Clock of the controller, ns.
        """

    def open_proven(
        self, request: OpenRequest, bundle: B, limits: Limits, clock: Callable[[], int]
    ) -> OpenedPolicy[B]:
        """Open a bundle beside a running policy, and verify its models on their golden rows.

        Args:
            request: The request.
            bundle: Bundle of the policy.
            limits: Limits in force.
            clock: Clock of the controller, ns.
        """


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenedMember:
    """A policy that is open and verified, to run as a member of a set.

    Attributes:
        runner: Execution resources for the `MemberPolicy` of its kind.
        models: Its models; empty for a policy without a model.
        close: Releases its execution resources, and closes the models.
        recorded: The model whose tensors a flight recorder stores in each tick, if any.
        chunks: Returns its chunks, once the set has created the member; None if it has none.
    """

    runner: Any
    models: OpenedModels
    close: Callable[[], None]
    recorded: Backend | None = None
    chunks: Callable[[Any], OpenedChunks] | None = None


class MemberKind(PolicyKind[B], Protocol[B]):
    """Differences between kinds of members: opening, playing on rows, and judging.

    Each kind inherits from it. A kind without a model has golden rows without arrays, plays
    nothing, and finds no difference.
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
        """Open a policy as a member of a set, verify it on its golden rows, and warm it up.

        Args:
            request: The request.
            options: Its options for the policy's backends.
            name: Name of the member.
            bundle: Bundle of the policy.
            limits: Limits in force for the set.
            clock: Clock of the controller, ns.
        """

    def open_proven(
        self, request: OpenRequest, bundle: B, limits: Limits, clock: Callable[[], int]
    ) -> OpenedPolicy[B]:
        from policy_inference.kinds.parity import open_with_parity

        return open_with_parity(self, request, bundle, limits, clock)

    @property
    def runs(self) -> str:
        """Word for several runs of such a policy in messages."""

    def golden_rows(self, bundle: B) -> Rows:
        """Read the golden rows of a bundle."""

    def require_enough(self, bundle: B, rows: Rows) -> None:
        """Raise BundleError unless the golden rows can distinguish functions."""

    def play(self, bundle: B, models: Mapping[str, Backend], rows: Rows) -> dict[str, Tensor]:
        """Run a policy row by row.

        Args:
            bundle: Bundle of the policy.
            models: Opened, by their keys in the contract; their arrays are overwritten.
            rows: Input rows.

        Returns:
            Computed rows [rows, ...], with the names in `Rows.outputs`, and more.
        """

    def differences(
        self,
        bundle: B,
        found: Mapping[str, Tensor],
        expected: Mapping[str, Tensor],
        numbers: npt.NDArray[np.int64] | None = None,
    ) -> tuple[Difference, ...]:
        """Measure the result of `play` against the expectation; joint commands come first.

        Args:
            bundle: Bundle of the policy.
            found: Computed rows.
            expected: `Rows.outputs`, or rows of a reference.
            numbers: Row numbers in their source; 0, 1, ... if absent.
        """

    def checks(
        self,
        bundle: B,
        backend: str,
        entries: Mapping[str, Artifact],
        differences: tuple[Difference, ...],
        source: str,
    ) -> tuple[Check, ...]:
        """Check differences against the limits of artifacts.

        Args:
            bundle: May state limits.
            backend: Name of the backend.
            entries: Opened artifacts, by the key of the model in the contract.
            differences: Result of `differences`.
            source: Source of the rows.
        """
