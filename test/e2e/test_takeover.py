# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A person corrects the policy that ships: no jump, no frame lost, whole attempts, a replay."""

from __future__ import annotations

import itertools
import logging
import subprocess
from pathlib import Path
from typing import Any

import pytest
from rosbags.highlevel import AnyReader

from lerobot_bridge.episode import PolicyRan, read_sidecar
from policy_core.bundle.load import bundle_folder, load_bundle
from testkit.recordings import recorded_runs, whole_recordings
from testkit.replays import replayed_from_states

from .taken_over import RATE_HZ, TakenOver, taken_over

pytestmark = pytest.mark.ros
BUNDLE = "so101_reach"
_log = logging.getLogger(__name__)


def messages(episode: Path, topic: str) -> list[tuple[int, Any]]:
    """Return the times (ns) and messages of a topic in an episode."""
    with AnyReader([episode]) as reader:
        connections = [each for each in reader.connections if each.topic == topic]
        return [
            (at, reader.deserialize(data, connection.msgtype))
            for connection, at, data in reader.messages(connections)
        ]


def by_command(action: str) -> str:
    """Run an action of `robot_operator`; return what it prints."""
    done = subprocess.run(
        ["robot_operator", action, "--sim-time"], capture_output=True, text=True, timeout=60.0
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_whole(corrected: TakenOver, times: int) -> None:
    """Assert that no command jumped, and that the recording has all of them and all corrections."""
    contract = load_bundle(bundle_folder(BUNDLE)).contract
    speed = contract.joints.velocity_limit.min()
    step = corrected.largest_step_rad()
    _log.info(
        "%d handovers: largest step %.4f rad, allowed %.4f rad", 2 * times, step, speed / RATE_HZ
    )
    assert step <= speed / RATE_HZ + 1e-9
    assert not corrected.operator.status.latched
    episode = corrected.session / "episode_0000"
    sidecar = read_sidecar(episode)
    assert sidecar.success
    assert sidecar.policy == PolicyRan(
        node="/act_policy_node", bundle_name=BUNDLE, bundle_version=contract.version
    )
    assert (sidecar.lost, sidecar.not_received, sidecar.problems) == (0, {}, ())
    assert len(sidecar.interventions or ()) == times
    commands = messages(episode, "/joint_command")
    missing = [
        after.sequence - before.sequence - 1
        for (_, before), (_, after) in itertools.pairwise(commands)
    ]
    assert not any(missing), f"{sum(missing)} of {len(commands)} commands are not in the recording"
    flags = messages(episode, "/intervention")
    begins = [
        at
        for (at, flag), (_, before) in zip(flags[1:], flags, strict=False)
        if flag.data and not before.data
    ]
    for (begin_ns, end_ns), flag_ns in zip(sidecar.interventions or (), begins, strict=True):
        assert abs(begin_ns - flag_ns) < 2e9 / RATE_HZ
        assert end_ns > begin_ns
    first_ns = commands[0][0]
    assert begins[0] - first_ns > 0.3e9, "what was before the first takeover is not there"


@pytest.mark.acceptance
def test_corrections_are_recorded_and_replayed_bit_for_bit(tmp_path: Path) -> None:
    before = whole_recordings()
    with taken_over(tmp_path, BUNDLE, 60.0) as corrected:
        operator = corrected.operator
        operator.wait_for_robot(30.0)
        operator.record_run(on=True)
        corrected.runs()
        corrected.is_corrected(1)
        assert "a person" in by_command("take_over")
        operator.wait_until(lambda: corrected.person_drives, "a person who drives", 30.0)
        by_command("hand_back")
        operator.wait_until(lambda: not corrected.person_drives, "the policy", 30.0)
        operator.record_run(on=False)
        corrected.ask_recorder("success")
        corrected.ask_recorder("finish")
        operator.wait_until(lambda: bool(recorded_runs(before)), "a recording", 10.0)
    assert_whole(corrected, 2)
    (path,) = recorded_runs(before)
    replayed_from_states(path, "each")
