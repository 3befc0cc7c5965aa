# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Replays a flight recording through a bundle."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from model_tools.errors import ToolError
from model_tools.prove.replaying.flight_charts import FlightLog, RecordedFlight
from model_tools.prove.replaying.joint_policy import RecordedJointPolicy
from model_tools.prove.replaying.recorded_chunks import RecordedChunkPolicy
from model_tools.prove.replaying.recorded_inputs import output_names
from model_tools.prove.replaying.recording import FlightRecording
from model_tools.prove.replaying.replayer import Replayer
from model_tools.prove.replaying.robot import RecordedClock, ReplayedPolicy
from model_tools.prove.replaying.set_policy import RecordedSetPolicy
from model_tools.prove.replaying.stages import (
    COMMAND,
    INPUTS,
    OUTPUTS,
    STAGES,
    STATE,
    TARGET,
    Departure,
    StageCourse,
)
from model_tools.prove.replaying.which_bundle import (
    against_contract,
    difference,
    is_of_set,
    recorded_bundle,
    recorded_chunk_settings,
    recorded_command_range,
    recorded_contract,
    recorded_limits,
    recorded_set,
    recorded_stricter_limits,
)
from policy_core.bundle.bundle import Bundle, JointBundle
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.contract import Artifact, JointContract
from policy_core.bundle.load import bundle_folder, load_bundle
from policy_core.bundle.set_bundle import SetBundle
from policy_core.bundle.set_contract import HostedContract
from policy_core.guard.limits import Limits
from policy_core.interfaces import Backend
from policy_core.members.chunk.settings import ChunkSettings
from policy_inference.backends.registry import open_backend
from policy_inference.comparison.limits import Check, open_loop_limits, state_limits
from policy_inference.comparison.open_loop import difference as measured
from policy_inference.comparison.open_loop import judge

_SENSED, _ARITHMETIC = 1e-6, 1e-9
"""Tolerances relative to a value, or to 1 if larger."""
_ROUNDING = {STATE: _SENSED, INPUTS: _SENSED, TARGET: _ARITHMETIC, COMMAND: _ARITHMETIC}
"""Tolerances on a different machine, where sine and square root may round differently: state and
observation are stored as float32; targets and commands are products and sums of doubles."""


class Judgement(Enum):
    """Method of comparing results with the recorded ones."""

    EXACT = "bit for bit"
    LIMITS = "by the limits of the model's precision"
    WHAT_IF = "shown, not judged"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReplayedFlight:
    """Result of a replay; true if it reproduced the recording.

    Attributes:
        recording: The replayed recording.
        bundle: The bundle.
        backend, runs_on: The back end, and its hardware as found when it was opened.
        judgement: Kind of comparison by which the results were judged.
        because: Reason for that choice.
        replayer: Stages, values over time, and counts; for a chunk policy, without model outputs.
        checks: Limits of outputs and targets, if the results are judged by them.
        flight: The recorded flight.
        broken: Limits in force that the recorded contract does not allow, in words.
        tightened: Limits that were stricter than the contract's, in words.
    """

    recording: FlightRecording
    bundle: Bundle
    backend: str
    runs_on: str
    judgement: Judgement
    because: str
    replayer: Replayer
    checks: tuple[Check, ...]
    flight: RecordedFlight
    broken: tuple[str, ...]
    tightened: tuple[str, ...]

    def __bool__(self) -> bool:
        """Return whether no judged value differs and enough values could be judged."""
        return not (self.differs or self.broken or self.unproven)

    @property
    def differs(self) -> bool:
        return any(self.replayer.stages[name].differing for name in self.judged_stages) or not all(
            self.checks
        )

    @property
    def unproven(self) -> list[str]:
        """Why the comparison proves nothing, in words; empty if it proves something."""
        stages = self.replayer.stages
        if self.judgement is not Judgement.WHAT_IF:
            return self.replayer.coverage.problems
        return [] if stages[COMMAND].judged else ["no command could be compared"]

    @property
    def judged_stages(self) -> tuple[str, ...]:
        """Stages in which no value may differ beyond its tolerance."""
        if self.judgement is Judgement.WHAT_IF:
            return ()
        # For a different machine, the limits of the precision judge the model's outputs.
        exact = self.judgement is Judgement.EXACT
        return tuple(name for name in self.replayer.stages if exact or name != OUTPUTS)

    @property
    def first(self) -> Departure | None:
        return self._first_departure(self.replayer.stages)

    @property
    def first_judged(self) -> Departure | None:
        """The first difference in the judged stages."""
        return self._first_departure(self.judged_stages)

    def _first_departure(self, names: Iterable[str]) -> Departure | None:
        found = [
            (stage.first.tick, place, stage.first)
            for place, stage in enumerate(map(self.replayer.stages.__getitem__, names))
            if stage.first
        ]
        return min(found, key=lambda each: each[:2])[2] if found else None


def replay(
    path: Path,
    given: Path | None,
    backends: str,
    options: Mapping[str, Mapping[str, str]],
    from_s: float = 0.0,
) -> ReplayedFlight:
    """Replay a recording with the bundle that it names, or a given one.

    Args:
        path: Folder or file of the recording.
        given: A different bundle: its folder, or the name of an installed one.
        backends: Back ends in order of preference, comma-separated; empty for the recorded one.
        options: Options of back ends, by name.
        from_s: Time since the first tick; the replay starts from the last controller state
            recorded before it.
    """
    recording = FlightRecording(path)
    other = bundle_folder(str(given)) if given else None
    bundle: Bundle
    contract: HostedContract
    if is_of_set(recording):
        bundle = load_bundle(other, kind=Bundle) if other else recorded_bundle(recording)
        contract = recorded_set(recording, bundle)
    else:
        contract = recorded_contract(recording)
        bundle = load_bundle(other) if other else recorded_bundle(recording)
    if bundle.contract.kind != contract.kind:
        raise ToolError(
            f"{bundle.path}: expected a {contract.kind} policy (as in the recording), "
            f"found a {bundle.contract.kind} policy"
        )
    limits = recorded_limits(recording)
    broken, tightened = against_contract(limits, contract)
    log = FlightLog(contract, recording.info, recording.count)
    with ExitStack() as opened:
        given_to = _AgainOn(recording, contract, limits, backends, options, opened)
        again = _AGAIN[contract.kind](given_to, bundle)
        for tick in recording.ticks(recording.state_before(from_s)):
            again.replayer.step(tick)
            log.add(tick)
    _, first = next(iter(again.models.values()), (None, None))
    return ReplayedFlight(
        recording=recording,
        bundle=bundle,
        backend=first.name if first else recording.info.backend,
        runs_on=_runs_on(first) if first else recording.info.runs_on,
        judgement=again.judgement,
        because=again.because,
        replayer=again.replayer,
        checks=tuple(_checks(again)) if again.judgement is Judgement.LIMITS else (),
        flight=log.flight(),
        broken=tuple(broken),
        tightened=tuple(tightened),
    )


def replayed_set(recording: FlightRecording, bundle: SetBundle, opened: ExitStack) -> Replayer:
    """Return the replayer of a recorded set, on the back end that ran.

    Args:
        recording: Recording of the set.
        bundle: The set that ran.
        opened: Receives the members' models, so that they can be closed.
    """
    on = _AgainOn(recording, bundle.contract, recorded_limits(recording), "", {}, opened)
    return _set_again(on, bundle).replayer


class _Again(NamedTuple):
    """Replay of a recording: replayer, models and judgment."""

    replayer: Replayer
    models: Mapping[str, tuple[JointBundle, Backend]]
    """Models of joint policies, by the prefix of their outputs' keys."""
    judgement: Judgement
    because: str


class _AgainOn(NamedTuple):
    """Inputs for a replay."""

    recording: FlightRecording
    contract: Any
    """The recorded contract, of the same kind as the bundle."""
    limits: Limits
    backends: str
    options: Mapping[str, Mapping[str, str]]
    opened: ExitStack

    def open(self, bundle: JointBundle) -> Backend:
        wanted = (self.backends or self.recording.info.backend).split(",")
        backend, _ = open_backend(bundle, [name for name in wanted if name], self.options)
        self.opened.callback(backend.close)
        return backend

    def again(
        self,
        bundle: Bundle,
        models: Mapping[str, tuple[JointBundle, Backend]],
        judgement: Judgement,
        because: str,
        make: Callable[[RecordedClock, Mapping[str, StageCourse]], ReplayedPolicy],
    ) -> _Again:
        outputs = {
            f"{of}{name}": StageCourse()
            for of, (_, backend) in models.items()
            for name in backend.outputs
        }
        replayer = Replayer(
            bundle,
            self.recording.info,
            lambda clock: make(clock, outputs),
            STAGES if models else [name for name in STAGES if name != OUTPUTS],
            _ROUNDING if judgement is Judgement.LIMITS else {},
            outputs,
            seeded=judgement is not Judgement.WHAT_IF,
        )
        return _Again(replayer, models, judgement, because)


def _chunks_again(on: _AgainOn, bundle: ChunkBundle) -> _Again:
    recording, info = on.recording, on.recording.info
    if on.backends:
        raise ToolError(
            f"--backend {on.backends}: expected none for a recording of a chunk policy: images are "
            "not recorded, so its model cannot be run again; its chunks are taken from the "
            "recording"
        )
    settings = recorded_chunk_settings(recording)
    judgement, because = Judgement.EXACT, "the same machine and contract"
    if bundle.sha256 != info.bundle_sha256 and (other := difference(on.contract, bundle)):
        judgement, because = Judgement.WHAT_IF, other
    elif others := _other_place(recording, None):
        judgement, because = Judgement.LIMITS, "; ".join(others)
    return on.again(
        bundle,
        {},
        judgement,
        because,
        lambda clock, _: RecordedChunkPolicy(bundle, info, on.limits, clock, settings),
    )


def _joints_again(on: _AgainOn, bundle: JointBundle) -> _Again:
    recording, backend, within = on.recording, on.open(bundle), recorded_command_range(on.recording)
    judgement, because = _judgement(recording, on.contract, bundle, backend)
    seeded = judgement is not Judgement.WHAT_IF

    def policy(clock: RecordedClock, outputs: Mapping[str, StageCourse]) -> RecordedJointPolicy:
        made = RecordedJointPolicy(
            bundle, backend, on.limits, clock, seeded=seeded, outputs=outputs
        )
        if within is not None:
            made.controller.command.narrow(within)
        return made

    return on.again(bundle, {"": (bundle, backend)}, judgement, because, policy)


def _set_again(on: _AgainOn, bundle: SetBundle) -> _Again:
    recording = on.recording
    members = bundle.select_members(JointBundle)
    models = {name: on.open(member) for name, member in members.items()}
    others = _other_place(recording, next(iter(models.values()), None))
    settings = ChunkSettings()
    if bundle.select_members(ChunkBundle):
        settings = recorded_chunk_settings(recording)
    stricter = recorded_stricter_limits(recording)
    return on.again(
        bundle,
        {f"{name}.": (member, models[name]) for name, member in members.items()},
        Judgement.LIMITS if others else Judgement.EXACT,
        "; ".join(others) or "the same machine, back end and models",
        lambda clock, outputs: RecordedSetPolicy(
            bundle, models, on.limits, clock, outputs, settings, stricter
        ),
    )


_AGAIN: Mapping[str, Callable[[_AgainOn, Any], _Again]] = {
    "joint": _joints_again,
    "chunk": _chunks_again,
    "set": _set_again,
}
"""Functions that prepare a replay, by the kind of both the recorded contract and the bundle."""


def _runs_on(backend: Backend) -> str:
    return ", ".join(backend.details.values())


def _judgement(
    recording: FlightRecording, contract: JointContract, bundle: JointBundle, backend: Backend
) -> tuple[Judgement, str]:
    info = recording.info
    if bundle.sha256 != info.bundle_sha256 and (other := difference(contract, bundle)):
        return Judgement.WHAT_IF, other
    others = _other_place(recording, backend)
    recorded, ours = (one.model.artifacts.get(backend.name) for one in (contract, bundle.contract))
    if backend.name == info.backend and recorded and ours and recorded.sha256 != ours.sha256:
        if not _may_be_of_one_model(recorded, ours):
            return Judgement.WHAT_IF, "the same contract with different weights"
        others.append("the model is a different file with the same function")
    if others:
        return Judgement.LIMITS, "; ".join(others)
    return Judgement.EXACT, "the same machine, back end and model"


def _may_be_of_one_model(one: Artifact, other: Artifact) -> bool:
    """Return whether two files may have been compiled from the same model."""
    origins = [{each.sha256, each.compiled_from} - {None} for each in (one, other)]
    if origins[0] & origins[1]:
        return True
    stated = one.compiled_from or other.compiled_from
    return not stated and one.precision != other.precision


def _other_place(recording: FlightRecording, backend: Backend | None) -> list[str]:
    """Return how the machine, and the back end if there is one, differ from the recorded ones."""
    info, others = recording.info, list[str]()
    if platform.node() != info.host:
        others.append(f"the machine is {platform.node()}, but was {info.host}")
    if backend is None:
        return others
    if backend.name != info.backend:
        others.append(f"the back end is {backend.name}, but was {info.backend}")
    elif _runs_on(backend) != info.runs_on:
        others.append(f"the model runs on {_runs_on(backend)}, but ran on {info.runs_on}")
    return others


def _checks(again: _Again) -> Iterator[Check]:
    for of, (bundle, backend) in again.models.items():
        contract = bundle.contract
        entry = contract.model.artifacts.get(backend.name)
        precision = entry.precision if entry else backend.details.get("precision", "fp32")
        for name in backend.outputs:
            course = again.replayer.outputs[f"{of}{name}"]
            if not course.ticks:
                continue
            ticks, expected, values = course.rows()
            is_action = name == contract.action.output
            limits = (open_loop_limits if is_action else state_limits)(
                contract, backend.name, precision
            )
            names = output_names(contract, name, values.shape[1])
            called = [each.removeprefix(f"{name}: ") for each in names]
            yield from judge(
                measured(name, called, values, expected, ticks), f"{OUTPUTS}: {of}{name}", limits
            )
