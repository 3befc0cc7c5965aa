# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Policy sets: several policies behind one controller."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from policy_core.bundle.bundle import AnyBundle, ChunkBundle, JointBundle, SetBundle
from policy_core.bundle.contract import Artifact
from policy_core.errors import RefusedError
from policy_core.guard.limits import Limits, limits_in_force
from policy_core.interfaces import Backend, Tensor
from policy_core.members.chunk.controller import camera_input
from policy_core.members.chunk.observation_sync import FrameBuffer
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
from policy_inference.comparison.limits import Check
from policy_inference.comparison.open_loop import Difference
from policy_inference.comparison.rows import Rows
from policy_inference.flight.description import chunk_settings
from policy_inference.flight.tap import SetTap
from policy_inference.kinds.chunk import ENDED_WORKER, ChunkKind, OpenedInference
from policy_inference.kinds.joint import JointKind, deadline_in_tick_s
from policy_inference.kinds.kind import PolicyKind
from policy_inference.kinds.opening import OpenedPolicy, OpenRequest
from policy_inference.kinds.parity import require_parity


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenedPolicySet(OpenedPolicy[SetBundle]):
    """A policy set that can run.

    Attributes:
        policy_set: What the controller runs.
        requests: What may be asked of it.
        chunk_members: Members that are chunk policies.
        settings: How those execute their chunks.
        inferences: What computes their chunks.
    """

    policy_set: PolicySet
    requests: SetRequests
    chunk_members: Sequence[ChunkMember]
    settings: ChunkSettings
    inferences: Sequence[OpenedInference]

    def stand(self, problems: Sequence[str] = ()) -> None:
        """Stand up; where a state must be left first, go the way back, and stand up at its end."""
        self.requests.stand(problems)

    @property
    def switching(self) -> SetReport:
        """Which state commands, and what came of the last requests."""
        return self.policy_set.report

    def go_on(self, now_ns: int) -> None:
        """Go on with the way back, or begin it in silence; a refusal is kept for the log."""
        try:
            self.requests.tick(now_ns)
        except RefusedError as error:
            self.policy_set.refusals.append(str(error))

    @property
    def frames(self) -> Mapping[str, Sequence[FrameBuffer]]:
        """By camera: where new frames go, one buffer for each member that sees them."""
        return {
            camera: [
                member.frames[camera] for member in self.chunk_members if camera in member.frames
            ]
            for camera in cameras_of(self.bundle.contract)
        }

    @property
    def problem(self) -> str:
        """Why no run can succeed any more; empty where one can."""
        for member in self.chunk_members:
            if not member.runner.worker.alive:
                return f"{member.name}: {ENDED_WORKER}"
        return super(OpenedPolicySet, self).problem

    @property
    def left_behind(self) -> bool:
        """Whether a run hangs in a graph, so that its thread cannot be ended; after `close`."""
        return any(inference.worker.busy for inference in self.inferences)

    @property
    def recorded_inputs(self) -> Sequence[str]:
        """Inputs whose messages a flight recorder keeps: not images, which take too much memory."""
        images = {camera_input(name) for name in self.frames}
        return [name for name in self.controller.inputs if name not in images]

    def recorded_settings(self) -> dict[str, str]:
        """Return the members, their contracts' hashes and the settings of chunks as well."""
        members = self.bundle.members.items()
        return {
            **super(OpenedPolicySet, self).recorded_settings(),
            **(chunk_settings(self.settings) if self.chunk_members else {}),
            **{f"member.{name}": f"{each.path} {each.sha256}" for name, each in members},
        }

    def close(self) -> None:
        """End the workers, then close the models; those in which a run hangs stay open."""
        for inference in self.inferences:
            inference.worker.close()
        if not self.left_behind:
            OpenedPolicy.close(self)


class SetKind:
    """What is special about policy sets: their members are proven when they are opened."""

    bundle = SetBundle
    runs = "runs"

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
    ) -> OpenedPolicySet:
        """Open the models of all members, and prove each on its golden rows.

        Raises:
            PolicyError: One cannot be used, with the reason; nothing is open then.
        """
        self.require_enough(bundle, self.golden_rows(bundle))
        models, runners = dict[str, OpenedModels](), dict[str, Backend | ChunkRunner]()
        inferences = list[OpenedInference]()
        with ExitStack() as opened:
            for name, member in bundle.members.items():
                if isinstance(member, ChunkBundle):
                    inference, runners[name] = self._open_chunk(request, options, member, clock)
                    opened.callback(inference.close)
                    inferences.append(inference)
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
        )
        controller = set_controller(bundle.contract, tap, state, inputs, limits, clock)
        return OpenedPolicySet(
            request=request,
            bundle=bundle,
            limits=limits,
            models=_joined(models),
            controller=controller,
            tap=tap,
            policy_set=policy_set,
            requests=SetRequests(bundle.contract, controller, policy_set),
            chunk_members=[
                member for member in policy_set.members.values() if isinstance(member, ChunkMember)
            ],
            settings=self._settings,
            inferences=inferences,
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
        member: ChunkBundle,
        clock: Callable[[], int],
    ) -> tuple[OpenedInference, ChunkRunner]:
        """Open the graphs of a chunk policy, measure how long a chunk takes, and prove them."""
        own = limits_in_force(member.contract, request.limits)
        inference = self._chunk.open_inference(request, options, member, own, clock)
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

    def golden_rows(self, bundle: SetBundle) -> Rows:
        """Return no rows: each member has its own, on which `open` proves it."""
        return Rows(source="golden rows of the members", inputs={}, outputs={})

    def require_enough(self, bundle: SetBundle, rows: Rows) -> None:
        """Raise BundleError unless each member has enough golden rows that differ."""
        for member in bundle.members.values():
            kind = self._kind_of(member)
            kind.require_enough(member, kind.golden_rows(member))

    def _kind_of(self, member: AnyBundle) -> PolicyKind[Any, Any]:
        return self._chunk if isinstance(member, ChunkBundle) else self._joint

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
