# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The request to run a policy, and the opened policy, for all kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from policy_core.bundle.bundle import Bundle
from policy_core.control.controller import Controller
from policy_core.errors import RefusedError
from policy_core.guard.limits import Limits, StricterLimits
from policy_core.latency import LatencyWindow
from policy_core.observation.distribution import DistributionWatch
from policy_inference.backends.base import BackendBase
from policy_inference.backends.registry import OpenedModels, Options, parse_options
from policy_inference.kinds.cores import NATIVE, PYTHON

if TYPE_CHECKING:  # not needed by a joint policy that is neither recorded nor on trial
    from policy_core.members.chunk.observation_sync import FrameBuffer
    from policy_core.members.chunk.takeover import TakeoverRequests
    from policy_inference.flight.tap import PolicyTap
    from policy_inference.kinds.chunk import OpenedChunks
    from policy_inference.kinds.policy_set import Switching
    from policy_store.trial_record import VersionTrial

B = TypeVar("B", bound=Bundle)
COMMAND_RANGE = "trial.command_range"
"""Recorded setting: range of the velocity command in a trial, three minima, three maxima."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """The policy to open, with its settings.

    Attributes:
        bundle: Folder, or name of an installed bundle.
        public_key: Keys, one of which must have signed it, in addition to those of the environment;
            "" for none.
        backends: Names, the preferred one first.
        options: Options of backends.
        stricter_limits: Operating limits.
        output: Message type of its targets.
        loop: `realtime.loop`: C++ ticks if possible, see `kinds.cores`.
        shadow_backends: Backends of the shadow policy, if there is one.
        trial: Trial of the version to run, if it is on trial.
    """

    bundle: str
    public_key: str
    backends: Sequence[str]
    options: Options
    stricter_limits: StricterLimits
    output: str
    loop: str = PYTHON
    shadow_backends: Sequence[str] = ()
    trial: VersionTrial | None = None

    @property
    def own_options(self) -> Options:
        """The options, without those for the shadow's backends only."""
        return {
            name: given
            for name, given in self.options.items()
            if name in self.backends or name not in self.shadow_backends
        }

    @property
    def backend_options(self) -> Options:
        """The options for its own backends only, as for a running policy."""
        return {name: given for name, given in self.options.items() if name in self.backends}

    @staticmethod
    def of(values: Mapping[str, Any]) -> OpenRequest:
        return OpenRequest(
            bundle=values["bundle"],
            public_key=values["public_key"],
            backends=_listed(values["backend"]),
            output=values["output"],
            # A shadow can observe a member in Python only.
            loop=PYTHON if values.get("shadow_member") else values["realtime.loop"],
            shadow_backends=_listed(values.get("shadow_backend", "")),
            options=parse_options(_listed(values["backend_options"])),
            stricter_limits=StricterLimits(
                **{field.name: values[f"safety.{field.name}"] for field in fields(StricterLimits)}
            ),
        )

    def for_bundle(self, bundle: str, backend: str) -> OpenRequest:
        """Return a request for another bundle, on other backends unless `backend` is empty."""
        if not bundle.strip():
            raise RefusedError(
                "load refused: bundle: expected a folder or the name of an "
                "installed bundle, found nothing"
            )
        return replace(self, bundle=bundle, backends=_listed(backend) or self.backends, trial=None)

    @property
    def source(self) -> str:
        """The bundle to load; the version on trial, if there is one."""
        return self.bundle if self.trial is None else f"{self.trial.name}@{self.trial.version}"

    @property
    def limits(self) -> StricterLimits:
        """Operating limits; for a version on trial the stricter of both."""
        if self.trial is None:
            return self.stricter_limits
        return self.trial.settings.stricter(self.stricter_limits)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenedPolicy(Generic[B]):
    """A policy set that is ready to run; a single bundle is a set of one.

    Attributes:
        request: The request.
        bundle: Its bundle.
        limits: Limits in force.
        models: The opened models of all members.
        controller: Its controller, which has not sent any command.
        tap: Tap of the controller's policy, for a flight recorder.
        watch: Compares the observations with those of training, if these are known.
        chunks: The members that are chunk policies.
        switching: Switching between the states of a set; None for a single bundle.
        takeover: Takeover by a person with a leader arm; None if disabled.
        latency: Durations of its ticks.
    """

    request: OpenRequest
    bundle: B
    limits: Limits
    models: OpenedModels
    controller: Controller
    tap: PolicyTap
    watch: DistributionWatch | None = None
    chunks: Sequence[OpenedChunks] = ()
    switching: Switching | None = None
    takeover: TakeoverRequests | None = None
    latency: LatencyWindow = field(default_factory=LatencyWindow)

    def __str__(self) -> str:
        contract = self.bundle.contract
        return (
            f"{contract.name} {contract.version} ({self.bundle.path}) on {self.backend.name}: "
            f"{self.models.runs_on}; {contract.rate_hz:g} Hz"
        )

    @property
    def backend(self) -> BackendBase:
        """The first model; its runtime and device are those of all."""
        return self.models.first

    @property
    def core(self) -> str:
        """The core that computes its ticks, as in `realtime.loop`."""
        from policy_core.native_controller import NativeController

        return NATIVE if isinstance(self.controller, NativeController) else PYTHON

    @property
    def frames(self) -> Mapping[str, Sequence[FrameBuffer]]:
        """Buffers for new frames by camera, one for each member that observes it."""
        found: dict[str, list[FrameBuffer]] = {}
        for member in self.chunks:
            for camera, buffer in member.frames.items():
                found.setdefault(camera, []).append(buffer)
        return found

    @property
    def problem(self) -> str:
        for member in self.chunks:
            if why := member.problem:
                return why if self.switching is None else f"{member.name}: {why}"
        return self.models.problem

    @property
    def left_behind(self) -> bool:
        """True if a run hangs in a model, so that its thread cannot be stopped; after `close`."""
        return any(member.worker.busy for member in self.chunks)

    def input_problem(self, name: str) -> str:
        """Return what a person must do about an available input; empty for nothing."""
        return "" if self.takeover is None else self.takeover.awaited(name)

    def stand(self, problems: Sequence[str] = ()) -> None:
        """Stand up; if a state must be left first, take the way back, and stand up at its end.

        Args:
            problems: Further reasons to refuse, from the caller.
        """
        (self.controller if self.switching is None else self.switching.requests).stand(problems)

    def go_on(self, now_ns: int) -> None:
        """Continue actions that take several ticks; after each tick, on the control thread.

        Args:
            now_ns: Time of the tick.
        """
        if self.switching is not None:
            self.switching.go_on(now_ns)

    @property
    def recorded_inputs(self) -> Sequence[str]:
        """Inputs whose messages a flight recorder stores: not images, which are too large."""
        if not self.chunks:
            return [*self.controller.inputs]
        from policy_core.members.chunk.controller import camera_input

        images = {*map(camera_input, self.frames)}
        return [name for name in self.controller.inputs if name not in images]

    def recorded_settings(self) -> dict[str, str]:
        """Return limits, versions and machine for a flight recording, by name."""
        from policy_inference.flight.description import flight_settings

        chunks = self.chunks[0].settings if self.chunks else None
        settings = flight_settings(self.limits, self.backend, chunks=chunks)
        trial = self.request.trial
        within = None if trial is None else trial.settings.command_range
        if within is not None:
            settings[COMMAND_RANGE] = " ".join(map(repr, (*within.min, *within.max)))
        if self.switching is not None:
            settings.update(self.switching.recorded_settings())
        return settings

    def close(self) -> None:
        """Stop the worker of chunks, then close the models; those with a hanging run stay open."""
        for member in self.chunks:
            member.worker.close()
        if not self.left_behind:
            self.models.close()


def _listed(text: str) -> list[str]:
    return [entry for part in text.split(",") if (entry := part.strip())]
