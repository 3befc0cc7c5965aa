# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings of a walking robot: whole, and replayed to the same commands."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from std_srvs.srv import SetBool, Trigger

from model_tools.files.bags.bag import Bag
from model_tools.files.row_files import BagSource
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.load import bundle_folder, load_bundle
from robot_sim.nodes.messages import nanoseconds
from testkit.recordings import whole_recordings

from .conftest import WALKING_MPS
from .recorded import asked_to_record, replayed_exactly
from .rig import Rig

pytestmark = [pytest.mark.ros, pytest.mark.slow]


@pytest.fixture
def mortal_walker(tmp_path: Path) -> Iterator[Rig]:
    """A robot that walks in processes of its own, which may end."""
    with Rig(tmp_path) as rig:
        rig.operator.stand_up()
        rig.operator.move(WALKING_MPS)
        rig.operator.wait(0.5)
        rig.expect_deaths()
        yield rig


# First: its recording shall not reach back to the faults of the tests below.
@pytest.mark.acceptance
def test_a_recording_on_request_begins_in_the_middle_of_a_walk(walker: Rig) -> None:
    """It is replayed, and the observations made anew from its sensors are those of the policy."""
    before = whole_recordings()
    walker.operator.wait(2.0)
    path = asked_to_record(walker, Trigger, "record", Trigger.Request())
    found = replayed_exactly(walker, before, "each")
    assert found.recording.info.reason.startswith("requested")
    assert found.replayer.stages["command"].judged > 100
    bag = Bag(path)
    ticks = [tick for _, tick in bag.messages("/policy_tick")]
    had = {nanoseconds(tick.stamp): tick.inputs[0] for tick in ticks if tick.inputs}
    commanded_ns, _ = next(bag.messages("/cmd_vel"))
    first_ns, compared = min(had), 0  # rows begin with the first tick in RUN
    for row in BagSource(load_bundle(bundle_folder("lite3_walk"), kind=JointBundle), path).rows():
        time_ns = first_ns + round(row.time_s * 1e9)
        if time_ns >= commanded_ns and (tensor := had.get(time_ns)) is not None:
            compared += 1
            observed = np.frombuffer(tensor.data.tobytes(), tensor.dtype)
            # The last action is the policy's own, and another where it begins in mid-run.
            differs = row.tensors[tensor.name].ravel() - observed
            assert np.abs(differs[: -row.sensed["joint_pos"].size]).max() <= 1e-6
    assert compared > 40


@pytest.mark.parametrize(
    ("fault", "reason", "states"),
    [
        ("nan:joint_states.velocity+0.02", "not_finite: joint_vel", "some"),
        pytest.param("drop:imu", "imu/data: ", "each", marks=pytest.mark.acceptance),
    ],
)
def test_a_fault_of_a_node_is_replayed(walker: Rig, fault: str, reason: str, states: str) -> None:
    before = whole_recordings()
    walker.fail(fault)
    walker.wait_for_latched_damp()
    found = replayed_exactly(walker, before, states)
    assert found.flight.trip is not None
    assert reason in found.flight.trip.reason
    assert found.flight.trip is [edge for edge in found.flight.edges if edge.trip][-1]
    stages = found.replayer.stages
    assert stages["target"].judged > 50
    assert stages["state"].judged > 50


@pytest.mark.acceptance
def test_node_that_is_killed_leaves_only_a_hidden_folder_that_says_what_it_is(
    mortal_walker: Rig,
) -> None:
    place = asked_to_record(mortal_walker, SetBool, "record_run", SetBool.Request(data=True))
    unfinished = f".unfinished-{place.name}-*"
    mortal_walker.wait_until(lambda: [*place.parent.glob(unfinished)], "the recording to begin")
    mortal_walker.policy.send(signal.SIGKILL)
    assert mortal_walker.policy.wait() == -signal.SIGKILL
    assert not place.exists()
    assert [*place.parent.glob(unfinished)]
