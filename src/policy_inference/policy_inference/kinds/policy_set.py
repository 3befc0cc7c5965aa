# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Policy sets: several policies behind one controller."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from policy_core.bundle.set_bundle import SetBundle
from policy_core.control.controller import Controller
from policy_core.errors import BundleError, Problem, RefusedError
from policy_core.guard.limits import Limits
from policy_core.members.chunk.settings import ChunkSettings
from policy_core.native_controller import NativeController
from policy_core.sets.controller import (
    SensedState,
    SetRequests,
    list_cameras,
    make_policy_set,
    set_controller,
    set_inputs,
)
from policy_core.sets.native_set import NativeSet
from policy_core.sets.policy import PolicySet, SetReport
from policy_inference.backends.registry import OpenedModels, Options
from policy_inference.flight.set_tap import SetTap
from policy_inference.flight.tap import NativeTap, PolicyTap
from policy_inference.kinds.kinds import find_kind, member_kinds
from policy_inference.kinds.opening import (
    OpenedMember,
    OpenedPolicy,
    OpenRequest,
    native_controller,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Switching:
    """Switches a set between its states.

    Attributes:
        bundle: The set's bundle.
        policy_set: The set in the controller.
        requests: Handles requests to the set.
    """

    bundle: SetBundle
    policy_set: PolicySet | NativeSet
    requests: SetRequests

    @property
    def report(self) -> SetReport:
        return self.policy_set.report

    def go_on(self, now_ns: int) -> None:
        """Continue the way back, or begin it after a silence; keep refusals for the log."""
        try:
            self.requests.tick(now_ns)
        except RefusedError as error:
            self.policy_set.refusals.append(str(error))

    def recorded_settings(self) -> dict[str, str]:
        """Return each member's path and contract hash, by setting name."""
        members = self.bundle.members.items()
        return {f"member.{name}": f"{each.path} {each.sha256}" for name, each in members}


class SetKind:
    """Opens policy sets, and verifies each member as it is opened."""

    bundle = SetBundle

    def __init__(
        self, settings: ChunkSettings | None = None, *, simulated_time: bool = False
    ) -> None:
        self._kinds = member_kinds(settings, simulated_time=simulated_time)

    def inputs(self, bundle: SetBundle, limits: Limits) -> Iterator[str]:
        state = SensedState(bundle.contract, limits)
        for name in state.inputs:
            external = state.get(f"external:{name}")
            yield name if external is None else f"{name} ({external.size} values)"
        yield from (f"the camera {name}" for name in list_cameras(bundle.contract))

    def open(
        self,
        request: OpenRequest,
        options: Options,
        bundle: SetBundle,
        limits: Limits,
        clock: Callable[[], int],
    ) -> OpenedPolicy[SetBundle]:
        if not bundle.models:
            raise BundleError(
                Problem(
                    file=str(bundle.file),
                    key="members",
                    expected="at least one member with a model (the status and recordings name "
                    "its back end)",
                    found=f"only members without one: {', '.join(bundle.members)}",
                    remedy="add a policy that has a model",
                )
            )
        kinds = {name: find_kind(each, self._kinds) for name, each in bundle.members.items()}
        for name, each in bundle.members.items():
            kinds[name].require_enough(each, kinds[name].golden_rows(each))
        opened = dict[str, OpenedMember]()
        with ExitStack() as closing:
            for name, member in bundle.members.items():
                opened[name] = kinds[name].open_member(
                    request, options, name, member, limits, clock
                )
                closing.callback(opened[name].close)
            closing.pop_all()
        state = SensedState(bundle.contract, limits)
        inputs = set_inputs(bundle.contract, state, limits)
        runners = {name: each.runner for name, each in opened.items()}
        policy_set = make_policy_set(bundle, runners, state, inputs, clock)
        chunks = [
            each.chunks(policy_set.members[name]) for name, each in opened.items() if each.chunks
        ]
        models = {name: each.recorded for name, each in opened.items() if each.recorded}
        set_tap = SetTap(policy_set, models, [each.worker for each in chunks])
        native = native_controller(request.loop, models, bundle.sha256)
        controller = set_controller(
            bundle.contract,
            set_tap,
            state,
            inputs,
            limits,
            clock,
            make=lambda body, policy, *rest: (
                native(body, policy_set, *rest) or Controller(body, policy, *rest)
            ),
        )
        tap: PolicyTap = set_tap
        running: PolicySet | NativeSet = policy_set
        if isinstance(controller, NativeController) and controller.policy_set is not None:
            tap, running = NativeTap(controller, set_tap.workers), controller.policy_set
        return OpenedPolicy(
            request=request,
            bundle=bundle,
            limits=limits,
            models=_joined({name: each.models for name, each in opened.items()}),
            controller=controller,
            tap=tap,
            chunks=chunks,
            switching=Switching(
                bundle=bundle,
                policy_set=running,
                requests=SetRequests(bundle.contract, controller, running),
            ),
        )

    def open_proven(
        self, request: OpenRequest, bundle: SetBundle, limits: Limits, clock: Callable[[], int]
    ) -> OpenedPolicy[SetBundle]:
        """Open a set while another policy is running; `open` already verifies its members."""
        return self.open(request, request.backend_options, bundle, limits, clock)


def _joined(members: Mapping[str, OpenedModels]) -> OpenedModels:
    return OpenedModels(
        {
            f"{name}.{key}": backend
            for name, each in members.items()
            for key, backend in each.items()
        },
        [f"{name}: {why}" for name, each in members.items() for why in each.skipped],
    )
