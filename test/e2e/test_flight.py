# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the flight recorder has of faults of a walking robot: real processes, in lockstep."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from policy_msgs.msg import JointCommand
from std_srvs.srv import SetBool, Trigger

from model_tools.files.bags.bag import Bag
from model_tools.files.row_files import BagSource
from policy_inference.backends.registry import open_backend
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.load import bundle_folder, load_bundle
from robot_sim.nodes.messages import nanoseconds
from testkit.recordings import whole_recordings

from .conftest import WALKING_MPS
from .rig import Rig

pytestmark = pytest.mark.ros

PERIOD_NS = 20_000_000
TICKS_AFTER = 50
FIELDS = ("position", "velocity", "effort", "stiffness", "damping", "effort_limit")


@pytest.fixture
def recorded(walker: Rig) -> Callable[[], Path]:
    """Return what waits for one recording since now."""
    before = whole_recordings()

    def wait() -> Path:
        walker.wait_until(lambda: len(whole_recordings() - before) == 1, "a recording")
        (path,) = whole_recordings() - before
        return path

    return wait


@pytest.fixture
def walking(tmp_path: Path) -> Iterator[Rig]:
    """A robot that walks in processes of its own, which may end."""
    with Rig(tmp_path) as rig:
        rig.operator.stand_up()
        rig.operator.move(WALKING_MPS)
        rig.operator.wait(0.5)
        rig.expect_deaths()
        yield rig


def asked_to_record(rig: Rig) -> Path:
    """Ask for the last seconds; return which recording the policy node names."""
    return _asked(rig, Trigger, "record", Trigger.Request())


def asked_to_record_a_run(rig: Rig) -> Path:
    """Ask for all from now on; return which recording the policy node names."""
    return _asked(rig, SetBool, "record_run", SetBool.Request(data=True))


def _asked(rig: Rig, service: type[Any], name: str, request: Any) -> Path:
    client = rig.operator.node.create_client(service, f"joint_policy_node/{name}")
    rig.wait_until(client.service_is_ready, f"the service {name}")
    future = client.call_async(request)
    rig.wait_until(future.done, "an answer")
    assert future.result().success, future.result().message
    return Path(future.result().message.partition(" ")[2])


@pytest.mark.parametrize(
    ("fault", "rule", "reason"),
    [
        ("nan:joint_states.velocity+0.02", "not_finite", "not_finite: joint_vel"),
        ("drop:imu", "held_too_long", "stale_state: imu/data: "),
    ],
)
def test_fault_is_recorded_with_its_reason_and_ticks_before_and_after(
    walker: Rig, recorded: Callable[[], Path], fault: str, rule: str, reason: str
) -> None:
    start_ns = walker.fail(fault)
    walker.wait_for_latched_damp()
    path = recorded()
    assert path.name.startswith("lite3_walk-")
    assert f"Z-{rule}" in path.name
    bag = Bag(path)
    ((_, info),) = bag.messages("/flight_info")
    assert info.reason.startswith(reason)
    ticks = [tick for _, tick in bag.messages("/policy_tick")]
    stamps_ns = [nanoseconds(tick.stamp) for tick in ticks]
    assert set(np.diff([tick.tick for tick in ticks])) == {1}
    assert stamps_ns[0] <= start_ns - 20 * PERIOD_NS
    modes = [tick.mode for tick in ticks]
    first = next(i for i, ns in enumerate(stamps_ns) if ns >= start_ns)
    assert modes[first - 1] == JointCommand.MODE_RUN
    assert modes[-1] == JointCommand.MODE_DAMP
    assert len(ticks) - first > TICKS_AFTER


def test_emergency_stop_is_recorded(walker: Rig, recorded: Callable[[], Path]) -> None:
    walker.operator.demand("estop")
    path = recorded()
    assert "Z-estop" in path.name
    ((_, info),) = Bag(path).messages("/flight_info")
    assert info.reason in ("estop: pressed by service", "estop: pressed by topic")


def test_recording_has_each_command_and_what_it_was_made_from(
    walker: Rig, recorded: Callable[[], Path]
) -> None:
    asked_to_record(walker)
    bag = Bag(recorded())
    counts = {name: topic.count for name, topic in bag.topics.items()}
    assert counts["/joint_command"] == counts["/policy_tick"]
    assert {"/joint_states", "/imu/data", "/cmd_vel", "/contact_forces"} <= counts.keys()
    # By number: an e-stop sends one more with the stamp of the tick before.
    sent = {command.sequence: command for command in [*walker.commands]}
    compared = 0
    for log_ns, message in bag.messages("/joint_command"):
        if (command := sent.get(message.sequence)) is not None:
            compared += 1
            assert (log_ns, message.mode) == (nanoseconds(command.stamp), command.mode)
            for field in FIELDS:
                np.testing.assert_array_equal(getattr(message, field), getattr(command, field))
    assert compared > 40


def test_model_gives_the_recorded_answers_to_the_recorded_inputs(
    walker: Rig, recorded: Callable[[], Path]
) -> None:
    walker.fail("nan:joint_states.velocity+0.02")
    bag = Bag(recorded())
    backend, _ = open_backend(load_bundle(bundle_folder("lite3_walk"), kind=JointBundle), ["onnx"])
    asked = [tick for _, tick in bag.messages("/policy_tick") if tick.outputs]
    assert len(asked) > 50
    for tick in asked:
        for tensor in tick.inputs:
            backend.inputs[tensor.name][...] = np.frombuffer(
                tensor.data.tobytes(), tensor.dtype
            ).reshape(tensor.shape)
        backend.run()
        for tensor in tick.outputs:
            np.testing.assert_array_equal(
                backend.outputs[tensor.name].reshape(-1),
                np.frombuffer(tensor.data.tobytes(), tensor.dtype),
            )
    backend.close()


@pytest.mark.slow
def test_recording_can_be_replayed_like_that_of_any_robot(walking: Rig) -> None:
    """The observations made anew from its sensors are those that the policy had."""
    walking.operator.wait(1.0)
    path = asked_to_record(walking)
    walking.wait_until(path.is_dir, "the recording")
    bag = Bag(path)
    ticks = [tick for _, tick in bag.messages("/policy_tick")]
    had = {nanoseconds(tick.stamp): tick.inputs[0] for tick in ticks if tick.inputs}
    commanded_ns, _ = next(bag.messages("/cmd_vel"))
    first_ns, compared = nanoseconds(ticks[0].stamp), 0
    for row in BagSource(load_bundle(bundle_folder("lite3_walk"), kind=JointBundle), path).rows():
        time_ns = first_ns + round(row.time_s * 1e9)
        if time_ns >= commanded_ns and (tensor := had.get(time_ns)) is not None:
            compared += 1
            observed = np.frombuffer(tensor.data.tobytes(), tensor.dtype)
            # The last action is the policy's own, and another where it begins in mid-run.
            differs = row.tensors[tensor.name].ravel() - observed
            assert np.abs(differs[: -row.sensed["joint_pos"].size]).max() <= 1e-6
    assert compared > 40


@pytest.mark.slow
def test_node_that_is_asked_to_end_writes_the_run_that_it_records(walking: Rig) -> None:
    place = asked_to_record_a_run(walking)
    walking.operator.wait(0.5)
    last_ns = nanoseconds(walking.commands[-1].stamp)
    walking.policy.send(signal.SIGTERM)
    assert walking.policy.wait() == 0
    bag = Bag(place)
    ticks = [tick for _, tick in bag.messages("/policy_tick")]
    assert set(np.diff([tick.tick for tick in ticks])) == {1}
    assert nanoseconds(ticks[-1].stamp) >= last_ns
    assert "ticks recorded" in walking.policy.output()


@pytest.mark.slow
def test_node_that_is_killed_leaves_only_a_hidden_folder_that_says_what_it_is(walking: Rig) -> None:
    place = asked_to_record_a_run(walking)
    unfinished = f".unfinished-{place.name}-*"
    walking.wait_until(lambda: [*place.parent.glob(unfinished)], "the recording to begin")
    walking.policy.send(signal.SIGKILL)
    assert walking.policy.wait() == -signal.SIGKILL
    assert not place.exists()
    assert [*place.parent.glob(unfinished)]
