# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Joint policies: from a loaded bundle to a controller over its opened model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from policy_inference.backends.registry import Options, open_backend
from policy_inference.bundle.bundle import JointBundle
from policy_inference.comparison.rows import golden_rows
from policy_inference.core.distribution import DistributionWatch, watched_inputs
from policy_inference.core.limits import Limits
from policy_inference.core.policy import joint_controller
from policy_inference.core.state import RobotState
from policy_inference.flight.tap import Tap
from policy_inference.nodes.opening import OpenedPolicy, OpenRequest
from policy_inference.self_test.parity import require_enough, require_parity


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenedJointPolicy(OpenedPolicy[JointBundle]):
    """A joint policy that can run."""

    def observed(self) -> DistributionWatch | None:
        """Return what compares the observation with the healthy run's."""
        return DistributionWatch(watched_inputs(self.bundle.contract, self.backend.inputs))


class JointKind:
    """Opens joint policies."""

    bundle = JointBundle

    def inputs(self, bundle: JointBundle, limits: Limits) -> Iterator[str]:
        """Yield the inputs of a policy, with all that a subscription depends on."""
        state = RobotState(bundle.contract, orientation=limits.max_tilt_rad is not None)
        for name in state.inputs:
            external = state.get(f"external:{name}")
            yield name if external is None else f"{name} ({external.size} values)"

    def require_provable(self, bundle: JointBundle) -> None:
        """Raise BundleError unless the golden rows can prove a model."""
        require_enough(bundle, golden_rows(bundle))

    def open(
        self,
        request: OpenRequest,
        options: Options,
        bundle: JointBundle,
        limits: Limits,
        clock: Callable[[], int],
    ) -> OpenedJointPolicy:
        """Open the model of a bundle that was loaded.

        Raises:
            PolicyError: It cannot be used, with the reason; nothing is open then.
        """
        # After that the controller gives up anyway.
        backend, skipped = open_backend(
            bundle, request.backends, options, run_timeout_s=limits.longest_gap_ns * 1e-9
        )
        backend.warm_up()
        tap = Tap(backend)
        return OpenedJointPolicy(
            request=request,
            bundle=bundle,
            limits=limits,
            backends=(backend,),
            skipped=skipped,
            tap=tap,
            controller=joint_controller(bundle, tap, limits, clock),
        )

    def prove(self, opened: OpenedJointPolicy) -> None:
        """Raise PolicyError unless the model computes here what the golden rows say."""
        require_parity(opened.bundle, opened.backend)
