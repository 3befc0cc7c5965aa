# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a different policy as the shadow of the recorded one; measures the same figures as a node.

Images are not recorded. A shadow that needs images receives the chunks of the shadow that ran in
the flight; the model of any other shadow runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from model_tools.errors import ToolError
from model_tools.prove.replaying.recorded_chunks import RecordedChunkPolicy, read_error
from model_tools.prove.replaying.recording import FlightRecording, RecordedTick
from model_tools.prove.replaying.replay import replayed_set
from model_tools.prove.replaying.replayer import Replayer
from model_tools.prove.replaying.stages import OUTPUTS, STAGES
from model_tools.prove.replaying.which_bundle import (
    is_of_set,
    recorded_bundle,
    recorded_chunk_settings,
    recorded_contract,
    recorded_limits,
)
from policy_core.bundle.body import AnyContract
from policy_core.bundle.bundle import Bundle
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.contract import JointContract
from policy_core.bundle.contract_difference import ContractDifference, contract_differences
from policy_core.bundle.terms import term_names
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, Index, Mode, ShadowMode
from policy_core.members.chunk.graphs import Inference
from policy_core.members.chunk.observation_sync import Snapshot
from policy_core.observation.rows import layout
from policy_inference.backends.registry import open_backend, open_models
from policy_inference.candidate.gates import systematic_share
from policy_inference.flight.ring import InferenceResult, ShadowAnswer, ShadowOutcome
from policy_inference.shadow.chunk_shadow import ChunkShadow
from policy_inference.shadow.comparable import require_comparable
from policy_inference.shadow.divergence import Divergence
from policy_inference.shadow.joint_shadow import JointShadow
from policy_inference.shadow.shadowed_member import ShadowedMember, ShadowQuestion
from policy_store.report import Part, Table, plain

_SAME_RAD = 1e-9
"""Tolerance, same as for targets in a replay on a different machine."""
_MOST_TICKS = 20_000
"""Maximum number of ticks used to compute `systematic`, so that they fit into memory."""
Asked = Iterator[tuple[RecordedTick, ShadowQuestion | None, bool]]
"""Ticks, each with the question to a shadow (None for no question) and whether the policy's actions
until then are known."""
Answer = Callable[[int, ShadowQuestion, ShadowAnswer | None], ShadowAnswer | None]
"""Maps tick number, question and recorded answer to an answer; None if the past is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShadowedFlight:
    """Result of running a shadow on a recorded flight.

    Attributes:
        bundle: Bundle of the shadow.
        mode: Source of the shadow's memory.
        divergence: Divergence of the shadow.
        recorded: Divergence of the shadow that ran in the flight; None if there was none.
        answers: The shadow's answers, by tick number.
        backend: The shadow's back end; empty if nothing ran again.
        differences: Differences between the shadow's contract and the recorded policy's.
        systematic: Share of the distance explained by the observation, by observation term and for
            `all` [joints]; empty if unknown.
    """

    bundle: Bundle
    mode: ShadowMode
    divergence: Divergence
    recorded: Divergence | None
    answers: Mapping[int, ShadowAnswer]
    backend: str
    differences: Sequence[ContractDifference]
    systematic: Mapping[str, F64]


def shadow_flight(
    recording: FlightRecording,
    bundle: Bundle,
    backends: Sequence[str],
    options: Mapping[str, Mapping[str, str]],
    mode: ShadowMode,
    member: str = "",
) -> ShadowedFlight:
    """Run a bundle as the shadow of the recorded policy, or of a member of the recorded set.

    Ticks that the recorded shadow skipped or lost, or in which its runtime failed, are skipped here
    too, so that the same bundle, back end and mode give the node's results.

    Args:
        recording: Recording of a policy of the same kind.
        bundle: The shadow.
        backends: The shadow's back ends in order of preference.
        options: Options of the back ends.
        mode: Source of the shadow's memory.
        member: Member of a set to compare with; empty for the one that was shadowed in the flight.
    """
    active, name = _shadowed(recording, member)
    if active.kind != bundle.contract.kind:
        raise ToolError(
            f"{bundle.path}: expected a {active.kind} policy (as in the recording), "
            f"found a {bundle.contract.kind} policy"
        )
    recorded = {answer.tick: answer for answer in recording.shadow_answers()}
    with ExitStack() as opened:
        flown = _flown(recording, active, name, opened)
        require_comparable(active, flown.sizes, bundle)
        backend, answer = _SHADOWS[active.kind](
            recording, flown, active, bundle, backends, options, mode, opened
        )
        answers = _answered(flown.ticks(), answer, recorded)
    prefix = f"{name}." if name else ""
    return ShadowedFlight(
        bundle=bundle,
        mode=mode,
        divergence=_summed(active, answers),
        recorded=_summed(active, recorded) if recorded else None,
        answers=answers,
        backend=backend,
        differences=contract_differences(active, bundle.contract),
        systematic=_systematic(recording, active, answers, prefix),
    )


def recorded_divergence(recording: FlightRecording) -> Divergence | None:
    """Return how far the shadow that ran in a flight diverged; None if there was none."""
    recorded = {answer.tick: answer for answer in recording.shadow_answers()}
    return _summed(_shadowed(recording, "")[0], recorded) if recorded else None


def _shadowed(recording: FlightRecording, member: str) -> tuple[Any, str]:
    """Return the contract of the policy that a shadow is compared with, and its name in a set."""
    if not is_of_set(recording):
        return recorded_contract(recording), ""
    name = member or recording.info.settings.get("shadow.member", "")
    members = recorded_bundle(recording).members
    if name not in members:
        raise ToolError(
            f"{recording.path}: expected the member of the set with which to compare the shadow "
            f"({', '.join(members)}), found {name or 'none'}: name it with --member"
        )
    return members[name].contract, name


class _Flown(NamedTuple):
    """The recorded policy, as a shadow sees it.

    Attributes:
        sizes: Sizes of the fields of the policy's state, by name.
        ticks: Function that yields the ticks.
    """

    sizes: Mapping[str, int]
    ticks: Callable[[], Asked]


def _flown(recording: FlightRecording, active: Any, name: str, opened: ExitStack) -> _Flown:
    """Return the policy to shadow: as recorded, or replayed if not all of it is recorded."""
    if name:
        flown: Any = recorded_bundle(recording)
        replayer = replayed_set(recording, flown, opened)
        return _replayed(
            recording,
            replayer,
            lambda policy: ShadowedMember.in_set(flown, policy.policy_set, name),
        )
    if active.kind == "chunk":
        return _replayed_chunks(recording, active)
    fields = recording.info.fields

    def ticks() -> Asked:
        for tick in recording.ticks():
            if tick.target is None:
                yield tick, None, True
                continue
            # After the policy has acted, the last action is that of the tick.
            state = tick.state.copy()
            state[fields["last_action"]] = tick.outputs[active.action.output].reshape(-1)
            yield tick, ShadowQuestion(state, tick.target, tick.begins), True

    return _Flown({field: part.stop - part.start for field, part in fields.items()}, ticks)


def _replayed_chunks(recording: FlightRecording, contract: Any) -> _Flown:
    info, settings, limits = (
        recording.info,
        recorded_chunk_settings(recording),
        recorded_limits(recording),
    )
    content = info.contract.encode("utf-8")
    flown = ChunkBundle(path=recording.path, contract=contract, content=content)
    replayer = Replayer(
        flown,
        info,
        lambda clock: RecordedChunkPolicy(flown, info, limits, clock, settings),
        [name for name in STAGES if name != OUTPUTS],
        {},
        {},
        seeded=True,
    )
    return _replayed(
        recording,
        replayer,
        lambda policy: ShadowedMember(flown, policy.state, policy.runtime.policy),
    )


def _replayed(
    recording: FlightRecording, replayer: Replayer, find: Callable[[Any], ShadowedMember]
) -> _Flown:
    """Return a replayed policy; `find` selects it from those that the replayer runs."""
    state = find(replayer.policy).state

    def ticks() -> Asked:
        policy = replayer.policy
        member = find(policy)
        for tick in recording.ticks():
            replayer.step(tick)
            if replayer.policy is not policy:
                policy = replayer.policy
                member = find(policy)
            run = policy.controller.latest_tick
            question = member.question(run)
            member.forget_chunks()
            if tick.target is None:
                yield tick, None, True
                continue
            same = np.allclose(run.target, tick.target, rtol=0.0, atol=_SAME_RAD)
            yield tick, question, policy.known and same

    return _Flown({name: state[name].size for name in state.slices}, ticks)


def _summed(active: AnyContract, answers: Mapping[int, ShadowAnswer]) -> Divergence:
    divergence = Divergence.of(active)
    for tick in sorted(answers):
        divergence.add(answers[tick])
    return divergence


def _systematic(
    recording: FlightRecording,
    active: Any,
    answers: Mapping[int, ShadowAnswer],
    prefix: str,
) -> dict[str, F64]:
    """Return the share of the distance that the recorded policy's observation explains.

    Empty for a chunk policy, whose observations are not recorded. In the recording, the names of
    the inputs begin with `prefix`.
    """
    if active.kind == "chunk":
        return {}
    compared = [tick for tick in sorted(answers) if answers[tick].target is not None]
    chosen = set(compared[:: 1 + len(compared) // _MOST_TICKS])
    rows, distances = list[F64](), list[F64]()
    for tick in recording.ticks():
        answer = answers.get(tick.number)
        if answer is None or tick.number not in chosen or not tick.inputs:
            continue
        assert answer.target is not None
        assert answer.active_target is not None
        names = active.observations
        rows.append(np.concatenate([tick.inputs[prefix + name].reshape(-1) for name in names]))
        distances.append(answer.target - answer.active_target)
    if not rows:
        return {}
    observed, distance = np.array(rows, np.float64), np.array(distances)
    parts = {"all": np.arange(observed.shape[1]), **_terms(active)}
    found = {name: systematic_share(distance, observed[:, at]) for name, at in parts.items()}
    return {name: share for name, share in found.items() if share is not None}


def _terms(active: JointContract) -> dict[str, Index]:
    """Return the indices of each term, with all its frames, in the concatenated observations."""
    found, begin = dict[str, Index](), 0
    for key, observation in active.observations.items():
        _, columns = layout(observation, active)
        end = 0
        for term in observation.terms:
            first, end = end, end + len(term_names(term, active))
            at = begin + np.flatnonzero((columns >= first) & (columns < end))
            name = f"{key}.{term.term}"
            found[name] = np.concatenate([found[name], at]) if name in found else at
        begin += len(columns)
    return found


def _answered(
    ticks: Asked,
    ask: Answer,
    recorded: Mapping[int, ShadowAnswer],
) -> dict[int, ShadowAnswer]:
    """Return a shadow's answer to each tick in which the recorded policy was followed."""
    answers = dict[int, ShadowAnswer]()
    # The past before the first tick is unknown, unless a run begins with it.
    begins, lost, number = False, 1, -1
    for tick, question, is_known in ticks:
        # Ticks that the recorder dropped are lost, too.
        lost, number = lost + (tick.number - number - 1 if number >= 0 else 0), tick.number
        if tick.mode is not Mode.RUN or question is None:
            continue
        if question.begins:
            begins, lost = True, 0
        seen = recorded.get(tick.number)
        was_lost = seen is not None and seen.outcome is ShadowOutcome.LOST
        answer = seen
        if not was_lost:
            asked = question._replace(begins=begins, lost=lost + question.lost)
            answer = ask(tick.number, asked, seen) if is_known else None
        if answer is not None:
            answers[tick.number] = answer
        if answer is None or was_lost:
            lost += 1
        else:
            begins, lost = False, 0
    return answers


def _joint_shadow(
    recording: FlightRecording,
    flown: _Flown,
    active: Any,
    bundle: Any,
    backends: Sequence[str],
    options: Mapping[str, Mapping[str, str]],
    mode: ShadowMode,
    opened: ExitStack,
) -> tuple[str, Answer]:
    """Return the back end of a joint policy, and its answering function; see `shadow_flight`."""
    backend, _ = open_backend(bundle, backends, options)
    opened.callback(backend.close)
    limits = limits_in_force(bundle.contract, StricterLimits())
    shadow = JointShadow(bundle, backend, limits, active, flown.sizes, mode)

    def answer(
        number: int, question: ShadowQuestion, seen: ShadowAnswer | None
    ) -> ShadowAnswer | None:
        outcome = None if seen is None else seen.outcome
        failed = outcome is ShadowOutcome.FAILED
        found = shadow.answer(number, question, late=failed or outcome is ShadowOutcome.SKIPPED)
        return seen if failed else found

    return backend.name, answer


def _chunk_shadow(
    recording: FlightRecording,
    flown: _Flown,
    active: Any,
    bundle: Any,
    backends: Sequence[str],
    options: Mapping[str, Mapping[str, str]],
    mode: ShadowMode,
    opened: ExitStack,
) -> tuple[str, Answer]:
    """Return the back end of a chunk policy, and its answering function; see `shadow_flight`."""
    if problem := missing_images(recording, bundle):
        raise ToolError(problem)
    compute: Callable[[Snapshot], F64] | None = None
    backend = recording.info.settings.get("shadow.backend", "")
    if not bundle.contract.cameras:
        models = opened.enter_context(open_models(bundle.models, backends, options))
        backend, compute = models.name, Inference(bundle.contract, models).run
    inferences = dict[int, InferenceResult]()
    was_shadowed = any(True for _ in recording.shadow_answers())

    def run(sensed: Snapshot) -> F64:
        """Return the chunk for an observation: computed if possible, otherwise as recorded."""
        found = inferences.get(sensed.time_ns)
        if found is not None and found.chunk is None:
            raise read_error(found.error)
        if compute is not None:
            return compute(sensed)
        if found is None or found.chunk is None:
            raise ToolError(
                f"{recording.path}: shadow_inference: expected one for the observation at "
                f"{sensed.time_ns} ns, found none; the recording was changed"
            )
        return found.chunk

    shadow = ChunkShadow(
        bundle.contract,
        run,
        limits_in_force(bundle.contract, StricterLimits()),
        active,
        flown.sizes,
        recorded_chunk_settings(recording),
        mode,
    )

    def answer(
        number: int, question: ShadowQuestion, seen: ShadowAnswer | None
    ) -> ShadowAnswer | None:
        if question.chunk is None:
            return None
        given = () if seen is None else seen.inferences
        inferences.clear()
        inferences.update({each.observation_ns: each for each in given})
        return shadow.answer(number, question, late=was_shadowed and not given)

    return backend, answer


_SHADOWS: Mapping[str, Callable[..., tuple[str, Answer]]] = {
    "joint": _joint_shadow,
    "chunk": _chunk_shadow,
}
"""Functions that prepare a shadow, by the kind of policy."""


def missing_images(recording: FlightRecording, bundle: Bundle) -> str:
    """Return why a bundle's chunks can be neither computed nor read; empty if they can be."""
    settings = recording.info.settings
    if not bundle.contract.cameras or settings.get("shadow.bundle_sha256") == bundle.sha256:
        return ""
    ran = " ".join(settings.get(f"shadow.{key}", "") for key in ("bundle_name", "bundle_version"))
    return (
        f"{recording.path}: expected the chunks from {bundle.path} as a shadow (images are not "
        f"recorded), found {f'those from {ran.strip()}' if ran.strip() else 'no shadow'}; run "
        "it as the shadow in a flight (shadow_bundle), or compare it on a dataset (`model_tools "
        "compare`)"
    )


def shadow_parts(divergence: Divergence) -> list[Part]:
    """Return a table of the distance between the targets by joint, and a summary sentence."""
    steps = divergence.in_steps(divergence.max)
    columns = {
        "mean": divergence.mean,
        "RMS": divergence.rms,
        "largest": divergence.max,
        **({} if steps is None else {"largest in steps": steps}),
        "gain": divergence.gain,
        "correlation": divergence.correlation,
        **({} if divergence.torque_error is None else {"torque error": divergence.torque_error}),
    }
    rows = zip(divergence.joints, *(each.tolist() for each in columns.values()), strict=True)
    return [Table(header=("joint", *columns), rows=list(rows)), shadow_line(divergence)]


def shadow_line(divergence: Divergence) -> str:
    counts = [
        f"{count} {outcome.name.lower().replace('_', ' ')}"
        for outcome, count in divergence.counts.items()
        if count or outcome is ShadowOutcome.COMPARED
    ]
    rules = [f"{rule} {count}" for rule, count in sorted(divergence.rules.items())]
    return (
        f"{', '.join(counts)} ticks; beyond limits in {divergence.beyond_limits}; "
        f"the guard would have acted: {', '.join(rules) or 'never'}"
    )


def shadow_figures(found: ShadowedFlight) -> dict[str, Any]:
    figures: dict[str, Any] = plain(
        {
            "bundle": found.bundle.path,
            "bundle_sha256": found.bundle.sha256,
            "mode": found.mode,
            "backend": found.backend,
            "contract_differences": found.differences,
            "systematic": found.systematic,
            "divergence": _figures(found.divergence),
            "recorded": None if found.recorded is None else _figures(found.recorded),
        }
    )
    return figures


def _figures(divergence: Divergence) -> dict[str, Any]:
    distances = {"mean": divergence.mean, "rms": divergence.rms, "max": divergence.max}
    return {
        "joints": divergence.joints,
        "ticks": {outcome.name.lower(): count for outcome, count in divergence.counts.items()},
        "beyond_limits": divergence.beyond_limits,
        "guard": dict(sorted(divergence.rules.items())),
        **distances,
        **{
            name: getattr(divergence, name)
            for name in ("moves", "gain", "correlation", "torque_error")
        },
        **{f"{name}_steps": divergence.in_steps(each) for name, each in distances.items()},
    }
