# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Another policy as the shadow of the one that was recorded: the figures that a node counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from model_tools.errors import ToolError
from model_tools.prove.replaying.chunk_shadowing import ShadowedChunks
from model_tools.prove.replaying.recorded_ticks import RecordedTick
from model_tools.prove.replaying.recording import FlightRecording
from model_tools.prove.replaying.replayed_member import (
    ReplayedMember,
    replayed_chunks,
    replayed_member,
)
from model_tools.prove.replaying.which_bundle import (
    is_of_set,
    recorded_bundle,
    recorded_contract,
)
from policy_core.bundle.body import AnyContract
from policy_core.bundle.bundle import Bundle, JointBundle
from policy_core.bundle.contract import JointContract
from policy_core.bundle.contract_difference import ContractDifference, contract_differences
from policy_core.bundle.terms import term_names
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64, Index, Mode, ShadowMode
from policy_core.observation.rows import layout
from policy_inference.backends.registry import open_backend
from policy_inference.candidate.shadow_figures import systematic_share
from policy_inference.flight.ring import ShadowAnswer, ShadowOutcome
from policy_inference.shadow.comparable import require_comparable
from policy_inference.shadow.divergence import Divergence
from policy_inference.shadow.joint_shadow import JointShadow
from policy_inference.shadow.shadowed_member import ShadowQuestion
from policy_store.report import Part, Table, plain

_DIGITS = 17
_MOST_TICKS = 20_000
"""Of which it is measured what is systematic: they fit into memory."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShadowedFlight:
    """What a shadow made of a recorded flight.

    Attributes:
        bundle: Of the shadow.
        mode: What it remembered.
        divergence: Its figures.
        recorded: Those of the shadow that ran in the flight; None where none did.
        answers: Its answers, by the number of the tick.
        backend: On which it ran; empty where nothing ran again.
        differences: Where its contract differs from that of the recorded policy.
        systematic: Share of the distance that follows from the observation, by term of the
            observation and of `all` [joints]; empty where it is not known.
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

    Ticks that the recorded shadow skipped or lost, or in which its runtime failed, are the same
    here, so that the same bundle, back end and mode give the figures that the node counted.

    Args:
        recording: With a policy of the same kind.
        bundle: The shadow.
        backends: What it runs on, the preferred one first.
        options: Of the back ends.
        mode: What it remembers.
        member: Of a set, the one that it is compared with; empty for that of the flight.
    """
    active, name = _shadowed(recording, member)
    if active.kind != bundle.contract.kind:
        raise ToolError(
            f"{bundle.path}: expected a bundle of a {active.kind} policy, as in the recording, "
            f"found one of a {bundle.contract.kind} policy"
        )
    recorded = {answer.tick: answer for answer in recording.shadow_answers()}
    with ExitStack() as opened:
        replayed = _replayed(recording, active, name)
        if replayed is not None:
            opened.callback(replayed.close)
        fields = recording.info.fields.items()
        sizes = {field: part.stop - part.start for field, part in fields}
        require_comparable(active, sizes if replayed is None else replayed.sizes, bundle)
        asked = _SHADOWED_TICKS[active.kind](
            recording, replayed, active, bundle, backends, options, mode, recorded
        )
        opened.callback(asked.close)
        answers = _answered(asked, recorded)
        systematic = asked.systematic(answers)
    return ShadowedFlight(
        bundle=bundle,
        mode=mode,
        divergence=_summed(active, answers),
        recorded=_summed(active, recorded) if recorded else None,
        answers=answers,
        backend=asked.backend,
        differences=contract_differences(active, bundle.contract),
        systematic=systematic,
    )


def recorded_divergence(recording: FlightRecording) -> Divergence | None:
    """Return the figures of the shadow that ran in a flight; None where none did."""
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
            f"{recording.path}: expected the member of the set that a shadow is compared with "
            f"({', '.join(members)}), found {name or 'none'}: say which with --member"
        )
    return members[name].contract, name


def _replayed(recording: FlightRecording, active: Any, name: str) -> ReplayedMember | None:
    """Return the policy to be replayed; None where the recording has all that it saw and did."""
    if name:
        return replayed_member(recording, name)
    return _REPLAYED_ALONE[active.kind](recording, active)


def _summed(active: AnyContract, answers: Mapping[int, ShadowAnswer]) -> Divergence:
    """Return the figures of answers, in the order of their ticks."""
    divergence = Divergence.of(active)
    for tick in sorted(answers):
        divergence.add(answers[tick])
    return divergence


def _systematic(
    recording: FlightRecording,
    active: JointContract,
    answers: Mapping[int, ShadowAnswer],
    prefix: str,
) -> dict[str, F64]:
    """Return which share of the distance follows from what the recorded policy observed.

    The names of its inputs in the recording begin with `prefix`.
    """
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
    """Return the places of each term, all its frames, in the observations one after another."""
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


class ShadowedTicks(Protocol):
    """Asks a shadow about recorded ticks.

    Attributes:
        backend: On which it runs; empty where its answers are those of the recording.
    """

    backend: str

    def ticks(self) -> Iterator[RecordedTick]:
        """Yield the recorded ticks."""

    def answer(self, tick: RecordedTick, begins: bool, lost: int) -> ShadowAnswer | None:
        """Return the answer to the tick that came last; None where its past is not known."""

    def systematic(self, answers: Mapping[int, ShadowAnswer]) -> Mapping[str, F64]:
        """Return the share of the distance that follows from the observation, where it is known."""

    def close(self) -> None:
        """Close what was opened."""


def _answered(
    asked: ShadowedTicks, recorded: Mapping[int, ShadowAnswer]
) -> dict[int, ShadowAnswer]:
    """Return the answer of a shadow to each tick in which the recorded policy was followed."""
    answers = dict[int, ShadowAnswer]()
    # What was before the first tick is lost, unless a run begins with it.
    begins, lost, number = False, 1, -1
    for tick in asked.ticks():
        # Ticks that the recorder has dropped.
        lost, number = lost + (tick.number - number - 1 if number >= 0 else 0), tick.number
        if tick.mode is not Mode.RUN or tick.target is None:
            continue
        if tick.begins:
            begins, lost = True, 0
        seen = recorded.get(tick.number)
        was_lost = seen is not None and seen.outcome is ShadowOutcome.LOST
        answer = seen if was_lost else asked.answer(tick, begins, lost)
        if answer is not None:
            answers[tick.number] = answer
        if answer is None or was_lost:
            lost += 1
        else:
            begins, lost = False, 0
    return answers


class _ShadowedJoints:
    """Asks a joint policy about the ticks of a recorded one."""

    def __init__(
        self,
        recording: FlightRecording,
        replayed: ReplayedMember | None,
        active: JointContract,
        bundle: JointBundle,
        backends: Sequence[str],
        options: Mapping[str, Mapping[str, str]],
        mode: ShadowMode,
        recorded: Mapping[int, ShadowAnswer],
    ) -> None:
        """Open the policy."""
        self._recording, self._active, self._recorded = recording, active, recorded
        self._replayed = replayed
        self.ticks = recording.ticks if replayed is None else replayed.ticks
        fields = recording.info.fields.items()
        sizes = {field: part.stop - part.start for field, part in fields}
        self._backend, _ = open_backend(bundle, backends, options)
        self.backend = self._backend.name
        self._shadow = JointShadow(
            bundle,
            self._backend,
            limits_in_force(bundle.contract, StricterLimits()),
            active,
            sizes if replayed is None else replayed.sizes,
            mode,
        )

    def answer(self, tick: RecordedTick, begins: bool, lost: int) -> ShadowAnswer | None:
        assert tick.target is not None
        seen = self._recorded.get(tick.number)
        failed = seen is not None and seen.outcome is ShadowOutcome.FAILED
        skipped = seen is not None and seen.outcome is ShadowOutcome.SKIPPED
        question = ShadowQuestion(self._after(tick), tick.target, begins, lost + self._watched)
        answer = self._shadow.answer(tick.number, question, late=skipped or failed)
        return seen if failed else answer

    def systematic(self, answers: Mapping[int, ShadowAnswer]) -> Mapping[str, F64]:
        """Return it by term of the observation."""
        prefix = "" if self._replayed is None else f"{self._replayed.name}."
        return _systematic(self._recording, self._active, answers, prefix)

    @property
    def _watched(self) -> int:
        question = None if self._replayed is None else self._replayed.question
        return 0 if question is None else question.lost

    def _after(self, tick: RecordedTick) -> F64:
        """Return the state after the policy acted: its last action is that of the tick."""
        if self._replayed is not None:
            return tick.state
        state = tick.state.copy()
        last_action = self._recording.info.fields["last_action"]
        state[last_action] = tick.outputs[self._active.action.output].reshape(-1)
        return state

    def close(self) -> None:
        """Close the back end."""
        self._backend.close()


_REPLAYED_ALONE: Mapping[str, Callable[..., ReplayedMember | None]] = {
    "joint": lambda recording, contract: None,
    "chunk": replayed_chunks,
}
_SHADOWED_TICKS: Mapping[str, Callable[..., ShadowedTicks]] = {
    "joint": _ShadowedJoints,
    "chunk": ShadowedChunks,
}
"""By the kind of the policy."""


def shadow_parts(divergence: Divergence) -> list[Part]:
    """Return the distance of the targets by joint, and a sentence."""
    steps = divergence.in_steps(divergence.max)
    columns = {
        "mean": divergence.mean,
        "RMS": divergence.rms,
        "largest": divergence.max,
        **({} if steps is None else {"largest in steps": steps}),
        "gain": divergence.gain,
        "correlation": divergence.correlation,
    }
    rows = zip(divergence.joints, *(each.tolist() for each in columns.values()), strict=True)
    return [Table(header=("joint", *columns), rows=list(rows)), shadow_line(divergence)]


def shadow_line(divergence: Divergence) -> str:
    """Return in one sentence what came of a shadow."""
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
    """Return the figures for JSON."""
    return {
        "bundle": str(found.bundle.path),
        "bundle_sha256": found.bundle.sha256,
        "mode": found.mode.value,
        "backend": found.backend,
        "contract_differences": [dataclasses.asdict(one) for one in found.differences],
        "systematic": {name: _listed(share) for name, share in found.systematic.items()},
        "divergence": _figures(found.divergence),
        "recorded": None if found.recorded is None else _figures(found.recorded),
    }


def _figures(divergence: Divergence) -> dict[str, Any]:
    distances = {"mean": divergence.mean, "rms": divergence.rms, "max": divergence.max}
    course = {
        "moves": divergence.moves,
        "gain": divergence.gain,
        "correlation": divergence.correlation,
    }
    return {
        "joints": [*divergence.joints],
        "ticks": {outcome.name.lower(): count for outcome, count in divergence.counts.items()},
        "beyond_limits": divergence.beyond_limits,
        "guard": dict(sorted(divergence.rules.items())),
        **{name: _listed(values) for name, values in (distances | course).items()},
        **{
            f"{name}_steps": None
            if (steps := divergence.in_steps(values)) is None
            else steps.tolist()
            for name, values in distances.items()
        },
    }


def _listed(values: F64) -> list[float | None]:
    """Return values for JSON, which has no NaN."""
    listed: list[float | None] = plain(values.tolist(), _DIGITS)
    return listed
