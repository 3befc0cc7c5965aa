# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a node is asked to run, and what it then runs, whatever kind of policy it is."""

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
from policy_inference.backends.opened_models import OpenedModels
from policy_inference.backends.registry import Options, parse_options

if TYPE_CHECKING:  # one that is neither recorded nor on trial needs nothing of these
    from policy_inference.flight.ring import PolicyTap
    from policy_inference.trial.record import VersionTrial

B = TypeVar("B", bound=Bundle)
COMMAND_RANGE = "trial.command_range"
"""Recorded setting: the range of the velocity command in a trial, three lowest, three highest."""


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
        shadow_backends: Back ends of the policy that runs beside it, if there is one.
        trial: Of the version that is to run, where it is on trial.
    """

    bundle: str
    public_key: str
    backends: Sequence[str]
    options: Options
    stricter_limits: StricterLimits
    output: str
    shadow_backends: Sequence[str] = ()
    trial: VersionTrial | None = None

    @property
    def own_options(self) -> Options:
        """The options, without those that are for the back ends of a shadow alone."""
        return {
            name: given
            for name, given in self.options.items()
            if name in self.backends or name not in self.shadow_backends
        }

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
            shadow_backends=_listed(values.get("shadow_backend", "")),
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
        return replace(self, bundle=bundle, backends=_listed(backend) or self.backends, trial=None)

    @property
    def source(self) -> str:
        """What to load: of a bundle with a version on trial that version."""
        return self.bundle if self.trial is None else f"{self.trial.name}@{self.trial.version}"

    @property
    def limits(self) -> StricterLimits:
        """Operating limits, of a version on trial the tighter of both."""
        if self.trial is None:
            return self.stricter_limits
        return self.trial.settings.stricter(self.stricter_limits)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenedPolicy(Generic[B]):
    """A policy that can run.

    Attributes:
        request: What was asked for.
        bundle: Its bundle.
        limits: Limits in force.
        models: Its opened models.
        controller: Nothing was commanded by it yet.
        tap: What the controller's policy runs on, for a flight recorder to observe.
        latency: How long its ticks take.
    """

    request: OpenRequest
    bundle: B
    limits: Limits
    models: OpenedModels
    controller: Controller
    tap: PolicyTap
    latency: LatencyWindow = field(default_factory=LatencyWindow)

    def __str__(self) -> str:
        """Return what runs where, e.g. for a log."""
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
    def problem(self) -> str:
        """Why no run can succeed any more; empty where one can."""
        return self.models.problem

    @property
    def left_behind(self) -> bool:
        """Whether a run hangs in a model, so that its thread cannot be ended; after `close`."""
        return False

    def input_problem(self, name: str) -> str:
        """Return what a person has to do about an input that is there; empty for nothing."""
        return ""

    def stand(self, problems: Sequence[str] = ()) -> None:
        """Stand up, unless there are reasons to refuse it.

        Args:
            problems: Reasons of the caller to refuse it.

        Raises:
            RefusedError: There are reasons, of the caller or of the controller.
        """
        self.controller.stand(problems)

    def observed(self) -> DistributionWatch | None:
        """Return what watches the observation, where there is something to compare it with."""
        return None

    def go_on(self, now_ns: int) -> None:
        """Go on with what takes several ticks; after each tick, on the control thread.

        Args:
            now_ns: Time of the tick.
        """

    @property
    def recorded_inputs(self) -> Sequence[str]:
        """Inputs whose messages a flight recorder keeps."""
        return [*self.controller.inputs]

    def recorded_settings(self) -> dict[str, str]:
        """Return what a flight recording states of limits, versions and machine, by name."""
        from policy_inference.flight.description import settings_of

        settings = settings_of(self.limits, self.backend)
        trial = self.request.trial
        within = None if trial is None else trial.settings.command_range
        if within is not None:
            settings[COMMAND_RANGE] = " ".join(map(repr, (*within.min, *within.max)))
        return settings

    def close(self) -> None:
        """Close the models."""
        self.models.close()


def _listed(text: str) -> list[str]:
    """Return the entries of a comma-separated text."""
    return [entry for part in text.split(",") if (entry := part.strip())]
