# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The proof that a recording says what happened: a replay gives the same, wherever it begins."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_tools.prove.replaying.recording import FlightRecording
from model_tools.prove.replaying.replay import Judgement, ReplayedFlight, replay
from policy_core.interfaces import Mode

SOME_OR_EACH = pytest.mark.parametrize(
    "states", ["some", pytest.param("each", marks=pytest.mark.acceptance)]
)
"""For a test that replays what it records: from three states, in acceptance from each."""


def replayed_from_states(path: Path, states: str) -> ReplayedFlight:
    """Replay a recording from recorded states of its controller; nothing may differ.

    Args:
        path: Of the recording.
        states: `each`, or `some`: the first, one while the policy runs, and the last.

    Returns:
        The replay from the first state, of the whole recording.
    """
    recording = FlightRecording(path)
    recorded = [*recording.states()]
    first, _ = recorded[0]
    found = {
        number: _replayed_exactly(recording, log_ns, number - first)
        for number, log_ns in (recorded if states == "each" else _some(recording, recorded))
    }
    whole = found[first]
    assert whole, whole.first or whole.unproven
    return whole


def _some(recording: FlightRecording, states: list[tuple[int, int]]) -> list[tuple[int, int]]:
    modes = {tick.number: tick.mode for tick in recording.modes()}
    running = [state for state in states if modes[state[0]] is Mode.RUN] or states
    return sorted({states[0], running[len(running) // 2], states[-1]})


def _replayed_exactly(recording: FlightRecording, log_ns: int, before: int) -> ReplayedFlight:
    """Replay from a time in the log on, before which lie so many ticks."""
    found = replay(recording.path, None, "", {}, (log_ns - recording.start_ns) * 1e-9)
    stages, coverage = found.replayer.stages, found.replayer.coverage
    assert found.judgement is Judgement.EXACT, found.because
    assert not [name for name, stage in stages.items() if stage.differing], (
        f"after {before} ticks: {found.first}"
    )
    # There is no command before a request, and no message in an outage.
    missed = {name for name, stage in stages.items() if stage.not_judged}
    assert missed <= {"command", "state"}, f"after {before} ticks: {missed}"
    assert (coverage.ticks, coverage.lost) == (recording.count - before, 0)
    return found
