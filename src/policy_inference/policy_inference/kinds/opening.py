# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Interfaces that make hosts independent of the kind of policy: request, opened policy, kind."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from policy_core.bundle.bundle import Bundle
from policy_core.bundle.contract import Artifact
from policy_core.control.controller import Controller
from policy_core.errors import BackendError, PolicyError, RefusedError, one_line
from policy_core.guard.limits import Limits, StricterLimits
from policy_core.interfaces import Backend, Tensor
from policy_core.latency import LatencyWindow
from policy_core.native_controller import NativeController
from policy_core.observation.distribution import DistributionWatch
from policy_inference.backends.base import BackendBase
from policy_inference.backends.registry import OpenedModels, Options, parse_options

if TYPE_CHECKING:  # not needed by a joint policy that is neither recorded nor compared
    from policy_core.members.chunk.observation_sync import FrameBuffer
    from policy_core.members.chunk.takeover import TakeoverRequests
    from policy_inference.comparison.limits import Check
    from policy_inference.comparison.open_loop import Difference
    from policy_inference.comparison.rows import Rows
    from policy_inference.flight.tap import PolicyTap
    from policy_inference.kinds.chunk import OpenedChunks
    from policy_inference.kinds.policy_set import Switching
    from policy_store.trial_record import VersionTrial

NATIVE, PYTHON = "native", "python"
"""Values of the `realtime.loop` parameter."""
_log = logging.getLogger("policy_inference")


def native_controller(
    loop: str, models: Mapping[str, Backend], sha256: str
) -> Callable[..., NativeController | None]:
    """Return a factory for C++ controllers; if it cannot make one, it logs why and returns None.

    Args:
        loop: `NATIVE`; with any other value, the factory returns None.
        models: Same as for `NativeController`.
        sha256: The bundle's hash.
    """

    def make(*arguments: Any) -> NativeController | None:
        if loop != NATIVE:
            return None
        try:
            return NativeController(*arguments, models=models, sha256=bytes.fromhex(sha256))
        except (ImportError, ValueError, RuntimeError) as error:  # RuntimeError: the core's own
            _log.warning("ticks in Python: %s", error)
            return None

    return make


B = TypeVar("B", bound=Bundle)
COMMAND_RANGE = "trial.command_range"
"""Name of a recorded setting: velocity command range in a trial (three minima, three maxima)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """The policy to open, with its settings.

    Attributes:
        bundle: Folder, or name of an installed bundle.
        public_key: Path to keys, one of which must have signed the bundle, in addition to the
            environment's keys; "" for none.
        backends: Names of back ends, in order of preference.
        options: Back end options.
        stricter_limits: The operator's limits.
        output: Message type of the targets.
        loop: Value of `realtime.loop`; `NATIVE` requests C++ ticks if possible
            (`native_controller`).
        shadow_backends: Back ends for the shadow policy, if there is one.
        trial: Trial of the version to run, if that version is on trial.
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
        """All options except those for back ends that only the shadow uses."""
        return {
            name: given
            for name, given in self.options.items()
            if name in self.backends or name not in self.shadow_backends
        }

    @property
    def backend_options(self) -> Options:
        """Options for the policy's own back ends only."""
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
        """Return a request for a different bundle, on different back ends if `backend` is set."""
        if not bundle.strip():
            raise RefusedError(
                "load refused: bundle: expected a folder or the name of an "
                "installed bundle, found nothing"
            )
        return replace(self, bundle=bundle, backends=_listed(backend) or self.backends, trial=None)

    @property
    def source(self) -> str:
        """Bundle to load: the version on trial, if there is one."""
        return self.bundle if self.trial is None else f"{self.trial.name}@{self.trial.version}"

    @property
    def limits(self) -> StricterLimits:
        """`stricter_limits`, tightened by the trial's limits for a version on trial."""
        if self.trial is None:
            return self.stricter_limits
        return self.trial.settings.stricter(self.stricter_limits)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenedPolicy(Generic[B]):
    """A policy set that is ready to run; a single bundle is a set of one.

    Attributes:
        request: The request.
        bundle: The policy's bundle.
        limits: Limits in force.
        models: The opened models of all members.
        controller: The policy's controller, which has not sent any commands yet.
        tap: Tap on the controller's policy, for a flight recorder.
        watch: Compares the observations with the training data, if its statistics are known.
        chunks: The members that are chunk policies.
        switching: Switching between the states of a set; None for a single bundle.
        takeover: Takeover by a person with a leader arm; None if disabled.
        latency: Tick durations.
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
            f"{contract.name} {contract.version} ({one_line(str(self.bundle.path))}) on "
            f"{self.backend.name}: {self.models.runs_on}; {contract.rate_hz:g} Hz"
        )

    @property
    def backend(self) -> BackendBase:
        """The first model; all the others use the same runtime and device."""
        return self.models.first

    @property
    def core(self) -> str:
        """Whether C++ or Python computes the policy's ticks, as a value of `realtime.loop`."""
        return NATIVE if isinstance(self.controller, NativeController) else PYTHON

    @property
    def frames(self) -> Mapping[str, Sequence[FrameBuffer]]:
        """Buffers for new frames by camera, one for each member that observes the camera."""
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
        """True if, after `close`, a worker thread cannot be stopped because inference hangs."""
        return any(member.worker.busy for member in self.chunks)

    def input_problem(self, name: str) -> str:
        """Return what an available input still lacks for a takeover; "" if nothing."""
        return "" if self.takeover is None else self.takeover.awaited(name)

    def stand(self, problems: Sequence[str] = ()) -> None:
        """Stand up; if the current state does not allow this, first return to one that does.

        Args:
            problems: The caller's own reasons to refuse.
        """
        (self.controller if self.switching is None else self.switching.requests).stand(problems)

    def go_on(self, now_ns: int) -> None:
        """Continue actions that span several ticks; call on the control thread after each tick.

        Args:
            now_ns: Time of the tick.
        """
        if self.switching is not None:
            self.switching.go_on(now_ns)

    @property
    def recorded_inputs(self) -> Sequence[str]:
        """Inputs whose messages a flight recorder stores; images are too large to store."""
        if not self.chunks:
            return [*self.controller.inputs]
        from policy_core.members.chunk.controller import camera_input

        images = {*map(camera_input, self.frames)}
        return [name for name in self.controller.inputs if name not in images]

    def recorded_settings(self) -> dict[str, str]:
        """Return the limits, versions and machine data for a flight recording, by name."""
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
        """Stop the chunk worker, then close the models; models whose inference hangs stay open."""
        for member in self.chunks:
            member.worker.close()
        if not self.left_behind:
            self.models.close()


def _listed(text: str) -> list[str]:
    return [entry for part in text.split(",") if (entry := part.strip())]


class PolicyKind(Protocol[B]):
    """What a host opens: policy sets, or single policies of one kind."""

    @property
    def bundle(self) -> type[B]:
        """Type of the kind's bundles."""

    def inputs(self, bundle: B, limits: Limits) -> Iterator[str]:
        """Yield a policy's inputs, in the form that determines its subscriptions."""

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
            options: Options for the policy's back ends.
            bundle: The policy's bundle.
            limits: Limits in force.
            clock: The controller's clock, ns.
        """

    def open_proven(
        self, request: OpenRequest, bundle: B, limits: Limits, clock: Callable[[], int]
    ) -> OpenedPolicy[B]:
        """Open a bundle while another policy is running; verify its models on its golden rows.

        Args:
            request: The request.
            bundle: The policy's bundle.
            limits: Limits in force.
            clock: The controller's clock, ns.
        """


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OpenedMember:
    """A policy that is open and verified, to run as a set member.

    Attributes:
        runner: Execution resources for the kind's `MemberPolicy`.
        models: The policy's models; empty for a policy without a model.
        close: Releases the execution resources, and closes the models.
        recorded: The model whose tensors a flight recorder stores in each tick, if any.
        chunks: Returns the opened chunk policy once the set has created the member; None if this is
            not a chunk policy.
    """

    runner: Any
    models: OpenedModels
    close: Callable[[], None]
    recorded: Backend | None = None
    chunks: Callable[[Any], OpenedChunks] | None = None


def open_bundle(
    kind: PolicyKind[B],
    request: OpenRequest,
    options: Options,
    bundle: B,
    limits: Limits,
    clock: Callable[[], int],
) -> OpenedPolicy[B]:
    """Open a bundle with `PolicyKind.open`.

    Raises:
        PolicyError: The bundle cannot be opened, for whatever reason.
    """
    try:
        return kind.open(request, options, bundle, limits, clock)
    except PolicyError:
        raise
    except Exception as error:  # of a runtime or of the suite: a user needs one line, no traceback
        _log.debug("while opening %s", bundle.path, exc_info=True)
        raise BackendError(
            f"{bundle.path}: expected a policy that opens, found {type(error).__name__}: {error}; "
            "report it with the bundle's policy.yaml (the debug log has the traceback)"
        ) from error


class MemberKind(PolicyKind[B], Protocol[B]):
    """Operations that differ between member kinds: opening, running rows, and comparing results.

    Each kind inherits from this class. For a kind without a model, golden rows have no arrays,
    `play` returns nothing, and `differences` is empty.
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
            options: Options for the policy's back ends.
            name: Member name.
            bundle: The policy's bundle.
            limits: Limits in force for the set.
            clock: The controller's clock, ns.
        """

    def open_proven(
        self, request: OpenRequest, bundle: B, limits: Limits, clock: Callable[[], int]
    ) -> OpenedPolicy[B]:
        from policy_inference.kinds.parity import open_with_parity

        return open_with_parity(self, request, bundle, limits, clock)

    @property
    def runs(self) -> str:
        """Plural noun that messages use for runs of such a policy."""

    def golden_rows(self, bundle: B) -> Rows:
        """Read the golden rows of a bundle."""

    def require_enough(self, bundle: B, rows: Rows) -> None:
        """Raise BundleError unless the golden rows can tell different functions apart."""

    def play(self, bundle: B, models: Mapping[str, Backend], rows: Rows) -> dict[str, Tensor]:
        """Run a policy row by row.

        Args:
            bundle: The policy's bundle.
            models: Opened models, by contract key; their arrays are overwritten.
            rows: Input rows.

        Returns:
            Computed rows [rows, ...], with at least the names in `Rows.outputs`.
        """

    def differences(
        self,
        bundle: B,
        found: Mapping[str, Tensor],
        expected: Mapping[str, Tensor],
        numbers: npt.NDArray[np.int64] | None = None,
    ) -> tuple[Difference, ...]:
        """Compare the result of `play` with the expected rows; joint commands come first.

        Args:
            bundle: The policy's bundle.
            found: Computed rows.
            expected: `Rows.outputs`, or rows from a reference.
            numbers: Each row's number in its source; None for 0, 1, ...
        """

    def checks(
        self,
        bundle: B,
        backend: str,
        entries: Mapping[str, Artifact],
        differences: tuple[Difference, ...],
        source: str,
    ) -> tuple[Check, ...]:
        """Check differences against the artifacts' limits.

        Args:
            bundle: The bundle, which may set its own limits.
            backend: The back end's name.
            entries: Opened artifacts, by the model's key in the contract.
            differences: Result of `differences`.
            source: Source of the rows.
        """
