# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Policy sets: several joint policies behind one controller."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from policy_inference.backends.opened_models import OpenedModels
from policy_inference.backends.registry import Options, open_models
from policy_inference.bundle.bundle import SetBundle
from policy_inference.bundle.contract import Artifact
from policy_inference.comparison.limits import Check
from policy_inference.comparison.open_loop import Difference
from policy_inference.comparison.rows import Rows
from policy_inference.core.limits import Limits
from policy_inference.core.sets.controller import (
    SensedState,
    SetRequests,
    policy_set_of,
    set_controller,
)
from policy_inference.core.sets.policy import PolicySet, SetReport
from policy_inference.flight.tap import SetTap
from policy_inference.interfaces import Backend, Tensor
from policy_inference.kinds.joint import JointKind, deadline_in_tick_s
from policy_inference.kinds.opening import OpenedPolicy, OpenRequest
from policy_inference.kinds.parity import require_parity


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenedPolicySet(OpenedPolicy[SetBundle]):
    """A policy set that can run.

    Attributes:
        policy_set: What the controller runs.
        requests: What may be asked of it.
    """

    policy_set: PolicySet
    requests: SetRequests

    def switching(self) -> SetReport:
        """Return which state commands, and what came of the last requests."""
        return self.policy_set.report

    def recorded_settings(self) -> dict[str, str]:
        """Return the members and their contracts' hashes as well."""
        members = self.bundle.members.items()
        return {
            **super(OpenedPolicySet, self).recorded_settings(),
            **{f"member.{name}": f"{each.path} {each.sha256}" for name, each in members},
        }


class SetKind:
    """What is special about policy sets: their members are proven when they are opened."""

    bundle = SetBundle
    runs = "runs"

    def __init__(self) -> None:
        """Prove members as joint policies."""
        self._joint = JointKind()

    def inputs(self, bundle: SetBundle, limits: Limits) -> Iterator[str]:
        """Yield the inputs of all members, with all that a subscription depends on."""
        state = SensedState(bundle.contract, limits)
        for name in state.inputs:
            external = state.get(f"external:{name}")
            yield name if external is None else f"{name} ({external.size} values)"

    def open(
        self,
        request: OpenRequest,
        options: Options,
        bundle: SetBundle,
        limits: Limits,
        clock: Callable[[], int],
    ) -> OpenedPolicySet:
        """Open the models of all members, and prove each on its golden rows.

        Raises:
            PolicyError: One cannot be used, with the reason; nothing is open then.
        """
        self.require_enough(bundle, self.golden_rows(bundle))
        members = dict[str, OpenedModels]()
        with ExitStack() as opened:
            for name, member in bundle.members.items():
                # After that the controller gives up anyway.
                models = open_models(
                    member.models,
                    request.backends,
                    options,
                    run_timeout_s=limits.longest_gap_ns * 1e-9,
                    deadline_s=deadline_in_tick_s(member.contract),
                )
                members[name] = opened.enter_context(models)
                require_parity(self._joint, member, models, self._joint.golden_rows(member))
                models.warm_up()
            opened.pop_all()
        models = OpenedModels(
            {
                f"{name}.{key}": backend
                for name, each in members.items()
                for key, backend in each.items()
            },
            [f"{name}: {why}" for name, each in members.items() for why in each.skipped],
        )
        state = SensedState(bundle.contract, limits)
        backends = {name: each.first for name, each in members.items()}
        policy_set = policy_set_of(bundle, backends, state)
        tap = SetTap(policy_set, backends)
        controller = set_controller(bundle.contract, tap, state, limits, clock)
        return OpenedPolicySet(
            request=request,
            bundle=bundle,
            limits=limits,
            models=models,
            controller=controller,
            tap=tap,
            policy_set=policy_set,
            requests=SetRequests(bundle.contract, controller, policy_set),
        )

    def golden_rows(self, bundle: SetBundle) -> Rows:
        """Return no rows: each member has its own, on which `open` proves it."""
        return Rows(source="golden rows of the members", inputs={}, outputs={})

    def require_enough(self, bundle: SetBundle, rows: Rows) -> None:
        """Raise BundleError unless each member has enough golden rows that differ."""
        for member in bundle.members.values():
            self._joint.require_enough(member, self._joint.golden_rows(member))

    def play(
        self, bundle: SetBundle, models: Mapping[str, Backend], rows: Rows
    ) -> dict[str, Tensor]:
        """Return nothing: there are no rows."""
        return {}

    def differences(
        self,
        bundle: SetBundle,
        found: Mapping[str, Tensor],
        expected: Mapping[str, Tensor],
        numbers: npt.NDArray[np.int64] | None = None,
    ) -> tuple[Difference, ...]:
        """Return nothing: there are no rows."""
        return ()

    def checks(
        self,
        bundle: SetBundle,
        backend: str,
        entries: Mapping[str, Artifact],
        differences: tuple[Difference, ...],
        source: str,
    ) -> tuple[Check, ...]:
        """Return nothing: there are no rows."""
        return ()
