# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Another policy as the shadow of the one that was recorded: the figures that a node counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from model_tools.errors import ToolError
from model_tools.prove.replaying.recorded_ticks import RecordedTick
from model_tools.prove.replaying.recording import FlightRecording
from model_tools.prove.replaying.which_bundle import recorded_contract
from policy_inference.backends.registry import open_backend
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.contract import JointContract
from policy_inference.core.limits import StricterLimits, limits_in_force
from policy_inference.flight.ring import ShadowAnswer, ShadowOutcome
from policy_inference.interfaces import F64, Mode, ShadowMode
from policy_inference.shadow.divergence import Divergence
from policy_inference.shadow.shadow_policy import ShadowPolicy, require_comparable


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ShadowedFlight:
    """What a shadow made of a recorded flight.

    Attributes:
        bundle: Of the shadow.
        mode: What it remembered.
        divergence: Its figures.
        recorded: Those of the shadow that ran in the flight; None where none did.
        answers: Its answers, by the number of the tick.
    """

    bundle: JointBundle
    mode: ShadowMode
    divergence: Divergence
    recorded: Divergence | None
    answers: Mapping[int, ShadowAnswer]


def shadow_flight(
    recording: FlightRecording,
    bundle: JointBundle,
    backends: Sequence[str],
    options: Mapping[str, Mapping[str, str]],
    mode: ShadowMode,
) -> ShadowedFlight:
    """Run a bundle as the shadow of the recorded policy.

    Ticks that the recorded shadow skipped or lost, or in which its runtime failed, are the same
    here, so that the same bundle, back end and mode give the figures that the node counted.

    Args:
        recording: Of a joint policy.
        bundle: The shadow.
        backends: What it runs on, the preferred one first.
        options: Of the back ends.
        mode: What it remembers.

    Raises:
        ToolError: The recording is broken, or of a chunk policy.
        PolicyError: The bundle cannot be opened, or not be compared with the recorded policy.
    """
    active = recorded_contract(recording)
    if not isinstance(active, JointContract):
        raise ToolError(f"{recording.path}: expected a joint policy, found one of chunks")
    fields = recording.info.fields
    sizes = {name: part.stop - part.start for name, part in fields.items()}
    require_comparable(active, sizes, bundle)
    limits = limits_in_force(bundle.contract, StricterLimits())
    backend, _ = open_backend(bundle, backends, options)
    try:
        policy = ShadowPolicy(bundle, backend, limits, active, sizes, mode)
        recorded = {answer.tick: answer for answer in recording.shadow_answers()}
        answers = _answered(recording, active, policy, recorded)
    finally:
        backend.close()
    return ShadowedFlight(
        bundle=bundle,
        mode=mode,
        divergence=_summed(active, answers),
        recorded=_summed(active, recorded) if recorded else None,
        answers=answers,
    )


def recorded_divergence(recording: FlightRecording) -> Divergence | None:
    """Return the figures of the shadow that ran in a flight; None where none did.

    Raises:
        ToolError: The recording is broken.
    """
    recorded = {answer.tick: answer for answer in recording.shadow_answers()}
    if not recorded:
        return None
    active = recorded_contract(recording)
    assert isinstance(active, JointContract)  # no other has shadows
    return _summed(active, recorded)


def _summed(active: JointContract, answers: Mapping[int, ShadowAnswer]) -> Divergence:
    """Return the figures of answers, in the order of their ticks."""
    divergence = Divergence.of(active)
    for tick in sorted(answers):
        divergence.add(answers[tick])
    return divergence


def _answered(
    recording: FlightRecording,
    active: JointContract,
    policy: ShadowPolicy,
    recorded: Mapping[int, ShadowAnswer],
) -> dict[int, ShadowAnswer]:
    """Return the answer of a shadow to each tick in which the recorded policy was followed."""
    answers = dict[int, ShadowAnswer]()
    # What was before the first tick is lost, unless a run begins with it.
    begins, lost, number = False, 1, -1
    for tick in recording.ticks():
        # Ticks that the recorder has dropped.
        lost, number = lost + (tick.number - number - 1 if number >= 0 else 0), tick.number
        if tick.mode is not Mode.RUN or tick.target is None:
            continue
        if tick.begins:
            begins, lost = True, 0
        seen = recorded.get(tick.number)
        outcome = ShadowOutcome.COMPARED if seen is None else seen.outcome
        if seen is not None and outcome is ShadowOutcome.LOST:
            answers[tick.number] = seen
            lost += 1
            continue
        answer = policy.answer(
            tick.number,
            _after(recording, active, tick),
            tick.target,
            begins=begins,
            lost=lost,
            late=outcome in (ShadowOutcome.SKIPPED, ShadowOutcome.FAILED),
        )
        failed = seen is not None and outcome is ShadowOutcome.FAILED
        answers[tick.number] = seen if seen is not None and failed else answer
        begins, lost = False, 0
    return answers


def _after(recording: FlightRecording, active: JointContract, tick: RecordedTick) -> F64:
    """Return the state after the policy acted: its last action is that of the tick."""
    state = tick.state.copy()
    state[recording.info.fields["last_action"]] = tick.outputs[active.action.output].reshape(-1)
    return state


def shadow_table(found: ShadowedFlight) -> Table:
    """Return the distance of the targets by joint."""
    contract = found.bundle.contract
    table = Table(title=f"{contract.name} {contract.version} as a shadow, {found.mode.value}")
    for column in SHADOW_COLUMNS:
        table.add_column(column, justify="left" if column == "joint" else "right")
    for row in shadow_rows(found.divergence):
        table.add_row(*row)
    return table


SHADOW_COLUMNS = ("joint", "mean", "RMS", "largest", "largest in steps")


def shadow_rows(divergence: Divergence) -> list[list[str]]:
    """Return a row for each joint, by `SHADOW_COLUMNS`."""
    steps = divergence.in_steps(divergence.max)
    return [
        [
            joint,
            f"{divergence.mean[index]:.4g}",
            f"{divergence.rms[index]:.4g}",
            f"{divergence.max[index]:.4g}",
            "" if steps is None else f"{steps[index]:.3g}",
        ]
        for index, joint in enumerate(divergence.joints)
    ]


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


def shadow_document(found: ShadowedFlight) -> dict[str, Any]:
    """Return the figures for JSON."""
    return {
        "bundle": str(found.bundle.path),
        "bundle_sha256": found.bundle.sha256,
        "mode": found.mode.value,
        "divergence": _figures(found.divergence),
        "recorded": None if found.recorded is None else _figures(found.recorded),
    }


def _figures(divergence: Divergence) -> dict[str, Any]:
    distances = {"mean": divergence.mean, "rms": divergence.rms, "max": divergence.max}
    return {
        "joints": [*divergence.joints],
        "ticks": {outcome.name.lower(): count for outcome, count in divergence.counts.items()},
        "beyond_limits": divergence.beyond_limits,
        "guard": dict(sorted(divergence.rules.items())),
        **{name: values.tolist() for name, values in distances.items()},
        **{
            f"{name}_steps": None
            if (steps := divergence.in_steps(values)) is None
            else steps.tolist()
            for name, values in distances.items()
        },
    }
