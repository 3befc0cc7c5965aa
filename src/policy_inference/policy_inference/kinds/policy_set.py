# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Policy sets: several policies behind one controller."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from policy_core.bundle.bundle import AnyBundle, ChunkBundle, JointBundle, SetBundle
from policy_core.errors import RefusedError
from policy_core.guard.limits import Limits, limits_in_force
from policy_core.interfaces import Backend
from policy_core.members.chunk.settings import ChunkSettings
from policy_core.sets.chunk_member import ChunkMember, ChunkRunner
from policy_core.sets.controller import (
    SensedState,
    SetRequests,
    cameras_of,
    policy_set_of,
    set_controller,
    set_inputs,
)
from policy_core.sets.policy import PolicySet, SetReport
from policy_inference.backends.opened_models import OpenedModels
from policy_inference.backends.registry import Options, open_models
from policy_inference.flight.tap import SetTap
from policy_inference.kinds.chunk import ChunkKind, OpenedChunks, OpenedInference
from policy_inference.kinds.joint import JointKind, deadline_in_tick_s
from policy_inference.kinds.kind import MemberKind
from policy_inference.kinds.opening import OpenedPolicy, OpenRequest
from policy_inference.kinds.parity import require_parity


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Switching:
    """How a set that can run is switched between its states.

    Attributes:
        bundle: Of the set.
        policy_set: What the controller runs.
        requests: What may be asked of it.
    """

    bundle: SetBundle
    policy_set: PolicySet
    requests: SetRequests

    @property
    def report(self) -> SetReport:
        """Which state commands, and what came of the last requests."""
        return self.policy_set.report

    def go_on(self, now_ns: int) -> None:
        """Go on with the way back, or begin it in silence; a refusal is kept for the log."""
        try:
            self.requests.tick(now_ns)
        except RefusedError as error:
            self.policy_set.refusals.append(str(error))

    def recorded_settings(self) -> dict[str, str]:
        """Return the members and their contracts' hashes, by name of the setting."""
        members = self.bundle.members.items()
        return {f"member.{name}": f"{each.path} {each.sha256}" for name, each in members}


class SetKind:
    """What is special about policy sets: their members are proven when they are opened."""

    bundle = SetBundle

    def __init__(
        self, settings: ChunkSettings | None = None, *, simulated_time: bool = False
    ) -> None:
        """Prove members as policies of their kinds; arguments as for `ChunkKind`."""
        self._settings = settings or ChunkSettings()
        self._joint = JointKind()
        self._chunk = ChunkKind(self._settings, simulated_time=simulated_time)

    def inputs(self, bundle: SetBundle, limits: Limits) -> Iterator[str]:
        """Yield the inputs of all members, with all that a subscription depends on."""
        state = SensedState(bundle.contract, limits)
        for name in state.inputs:
            external = state.get(f"external:{name}")
            yield name if external is None else f"{name} ({external.size} values)"
        yield from (f"the camera {name}" for name in cameras_of(bundle.contract))

    def open(
        self,
        request: OpenRequest,
        options: Options,
        bundle: SetBundle,
        limits: Limits,
        clock: Callable[[], int],
    ) -> OpenedPolicy[SetBundle]:
        """Open the models of all members, and prove each on its golden rows.

        Raises:
            PolicyError: One cannot be used, with the reason; nothing is open then.
        """
        for each in bundle.members.values():
            kind = self._kind_of(each)
            kind.require_enough(each, kind.golden_rows(each))
        models, runners = dict[str, OpenedModels](), dict[str, Backend | ChunkRunner]()
        inferences = dict[str, OpenedInference]()
        with ExitStack() as opened:
            for name, member in bundle.members.items():
                if isinstance(member, ChunkBundle):
                    inference, runners[name] = self._open_chunk(
                        request, options, name, member, clock
                    )
                    opened.callback(inference.close)
                    inferences[name] = inference
                    models[name] = inference.models
                else:
                    models[name] = self._open_joint(request, options, member, limits)
                    opened.enter_context(models[name])
                    runners[name] = models[name].first
            opened.pop_all()
        state = SensedState(bundle.contract, limits)
        inputs = set_inputs(bundle.contract, state, limits)
        policy_set = policy_set_of(bundle, runners, state, inputs, clock)
        tap = SetTap(
            policy_set,
            {name: each for name, each in runners.items() if not isinstance(each, ChunkRunner)},
            [each.worker for each in inferences.values()],
        )
        controller = set_controller(bundle.contract, tap, state, inputs, limits, clock)
        return OpenedPolicy(
            request=request,
            bundle=bundle,
            limits=limits,
            models=_joined(models),
            controller=controller,
            tap=tap,
            chunks=[
                OpenedChunks(
                    name=name,
                    contract=member.contract,
                    inference=inferences[name],
                    policy=member.policy,
                    frames=member.frames,
                    settings=self._settings,
                    member=member,
                )
                for name, member in policy_set.members.items()
                if isinstance(member, ChunkMember)
            ],
            switching=Switching(
                bundle=bundle,
                policy_set=policy_set,
                requests=SetRequests(bundle.contract, controller, policy_set),
            ),
        )

    def _open_joint(
        self, request: OpenRequest, options: Options, member: JointBundle, limits: Limits
    ) -> OpenedModels:
        """Open the model of a joint policy, prove it and warm it up."""
        # After that the controller gives up anyway.
        models = open_models(
            member.models,
            request.backends,
            options,
            run_timeout_s=limits.longest_gap_ns * 1e-9,
            deadline_s=deadline_in_tick_s(member.contract),
        )
        with ExitStack() as opened:
            opened.enter_context(models)
            require_parity(self._joint, member, models, self._joint.golden_rows(member))
            models.warm_up()
            opened.pop_all()
        return models

    def _open_chunk(
        self,
        request: OpenRequest,
        options: Options,
        name: str,
        member: ChunkBundle,
        clock: Callable[[], int],
    ) -> tuple[OpenedInference, ChunkRunner]:
        """Open the graphs of a chunk policy, measure how long a chunk takes, and prove them."""
        own = limits_in_force(member.contract, request.limits)
        inference = self._chunk.open_inference(request, options, member, own, clock, name)
        with ExitStack() as opened:
            opened.callback(inference.close)
            rows = self._chunk.golden_rows(member)
            require_parity(self._chunk, member, inference.models, rows)
            opened.pop_all()
        return inference, ChunkRunner(
            worker=inference.worker,
            settings=self._settings,
            expected_s=inference.expected_s,
            longest_hold_ns=own.damp_after_ns,
        )

    def open_proven(
        self, request: OpenRequest, bundle: SetBundle, limits: Limits, clock: Callable[[], int]
    ) -> OpenedPolicy[SetBundle]:
        """Open a set beside a policy that runs: `open` proves its members anyway."""
        return self.open(request, request.backend_options, bundle, limits, clock)

    def _kind_of(self, member: AnyBundle) -> MemberKind[Any]:
        return self._chunk if isinstance(member, ChunkBundle) else self._joint


def _joined(members: Mapping[str, OpenedModels]) -> OpenedModels:
    """Return the models of all members, by MEMBER.KEY."""
    return OpenedModels(
        {
            f"{name}.{key}": backend
            for name, each in members.items()
            for key, backend in each.items()
        },
        [f"{name}: {why}" for name, each in members.items() for why in each.skipped],
    )
