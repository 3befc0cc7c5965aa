# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The proof that a recording says what happened: a replay gives the same, wherever it begins."""

from __future__ import annotations

from pathlib import Path

from model_tools.prove.replaying.recording import FlightRecording
from model_tools.prove.replaying.replay import Judgement, ReplayedFlight, replay


def replayed_from_every_state(path: Path) -> ReplayedFlight:
    """Replay a recording from each recorded state of its controller; nothing may differ.

    Returns:
        The replay of the whole recording.
    """
    recording = FlightRecording(path)
    states = [*recording.states()]
    first, _ = states[0]
    for number, log_ns in states:
        found = replay(path, None, "", {}, (log_ns - recording.start_ns) * 1e-9)
        stages, coverage = found.replayer.stages, found.replayer.coverage
        assert found.judgement is Judgement.EXACT, found.because
        assert not [name for name, stage in stages.items() if stage.differing], (
            f"{number}: {found.first}"
        )
        # There is no command before a request, and no message in an outage.
        missed = {name for name, stage in stages.items() if stage.not_judged}
        assert missed <= {"command", "state"}, f"{number}: {missed}"
        assert (coverage.ticks, coverage.lost) == (recording.count - (number - first), 0)
    whole = replay(path, None, "", {})
    assert whole, whole.first or whole.unproven
    return whole
