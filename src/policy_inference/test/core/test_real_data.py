# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Recorded robots: the same sensors give the recorded observations and actions."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from policy_inference.backends.onnx import OnnxBackend
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.load import load_bundle
from policy_inference.core.joint_order import JointOrder
from policy_inference.core.policy import JointPolicy
from policy_inference.core.state import RobotState
from policy_inference.interfaces import F32

pytestmark = pytest.mark.real_data

TOLERANCE = 1e-5
SELF_FED_ROWS = 1700
"""Afterwards differences of single bits grow in the recorded gaits, as its sources say."""
PACKAGE = Path(__file__).parents[2]
XYZW_OF_WXYZ = (1, 2, 3, 0)
NS_PER_TICK = 20_000_000

Recording = Mapping[str, np.ndarray[Any, np.dtype[Any]]]


class Replay:
    """A bundle's policy, fed with recorded sensors."""

    def __init__(self, contract: Path, weights: Path, folder: Path) -> None:
        shutil.copy(contract, folder / "policy.yaml")
        shutil.copy(weights, folder / "policy.onnx")
        bundle = load_bundle(folder, kind=JointBundle)
        model = bundle.contract.model
        self.names = bundle.contract.joints.names
        self.backend = OnnxBackend(
            bundle.artifact("onnx")[1], model.input_specs, model.output_specs
        )
        self.state = RobotState(bundle.contract)
        self.policy = JointPolicy(bundle, self.backend, self.state)

    def sense(self, recording: Recording, row: int) -> None:
        """Write the sensors and the command of a row."""
        for field, key in (
            ("joint_pos", "joint_pos"),
            ("joint_vel", "joint_vel"),
            ("ang_vel_body", "ang_vel_body"),
            ("velocity_command", "command"),
        ):
            self.state[field][:] = recording[key][row]
        self.state["quat_xyzw"][:] = recording["quat_wxyz"][row, XYZW_OF_WXYZ]

    def step(self) -> tuple[F32, F32]:
        """Return observation and action of the sensed state."""
        self.state.derive()
        assert self.policy.infer()
        self.policy.commit()
        return (
            self.backend.inputs["obs"][0].astype(np.float32),
            self.backend.outputs["actions"][0].astype(np.float32),
        )


@pytest.fixture
def lite3_folder(shared_data: Path) -> Path:
    return shared_data / "legged" / "lite3"


@pytest.fixture
def go2_folder(shared_data: Path) -> Path:
    return shared_data / "legged" / "go2_isaaclab"


@pytest.fixture
def lite3_replay(lite3_folder: Path, tmp_path: Path) -> Iterator[Replay]:
    contract = PACKAGE / "config" / "bundles" / "lite3_deeprobotics" / "policy.yaml"
    replay = Replay(contract, lite3_folder / "policy.onnx", tmp_path)
    yield replay
    replay.backend.close()


@pytest.fixture
def go2_replay(go2_folder: Path, tmp_path: Path) -> Iterator[Replay]:
    contract = Path(__file__).parent / "data" / "go2.yaml"
    replay = Replay(contract, go2_folder / "policy.onnx", tmp_path)
    yield replay
    replay.backend.close()


def test_every_row_of_the_lite3_rollout_is_rebuilt_from_its_sensors(
    lite3_folder: Path, lite3_replay: Replay
) -> None:
    recording = dict(np.load(lite3_folder / "rollout_50hz.npz"))
    assert tuple(recording["joint_names"]) == lite3_replay.names
    observations, actions = [], []
    for row in range(len(recording["time"])):
        lite3_replay.sense(recording, row)
        lite3_replay.state["last_action"][:] = recording["action"][row - 1] if row else 0.0
        observation, action = lite3_replay.step()
        observations.append(observation)
        actions.append(action)
    np.testing.assert_allclose(observations, recording["obs"], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(actions, recording["action"], rtol=0, atol=TOLERANCE)
    golden = np.load(lite3_folder / "golden.npz")
    np.testing.assert_allclose(
        np.array(observations)[golden["index"]], golden["obs"], rtol=0, atol=TOLERANCE
    )
    np.testing.assert_allclose(
        np.array(actions)[golden["index"]], golden["actions"], rtol=0, atol=TOLERANCE
    )


def test_the_lite3_policy_feeding_itself_stays_on_the_recorded_actions(
    lite3_folder: Path, lite3_replay: Replay
) -> None:
    recording = dict(np.load(lite3_folder / "rollout_50hz.npz"))
    actions = []
    lite3_replay.policy.reset()
    for row in range(SELF_FED_ROWS + 1):
        lite3_replay.sense(recording, row)
        actions.append(lite3_replay.step()[1])
    expected = recording["action"][: SELF_FED_ROWS + 1]
    np.testing.assert_allclose(actions, expected, rtol=0, atol=2 * TOLERANCE)


def test_the_go2_s_golden_rows_are_rebuilt_from_their_sensors(
    go2_folder: Path, go2_replay: Replay
) -> None:
    recording = dict(np.load(go2_folder / "golden.npz"))
    assert tuple(recording["joint_names"]) == go2_replay.names
    for row, (expected_obs, expected) in enumerate(
        zip(recording["obs"], recording["actions"], strict=True)
    ):
        go2_replay.sense(recording, row)
        # The rows do not follow each other in time: each has its own previous action.
        go2_replay.state["last_action"][:] = expected_obs[-12:]
        observation, action = go2_replay.step()
        np.testing.assert_allclose(observation, expected_obs, rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(action, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("robot", ["lite3", "go2"])
def test_a_ramp_of_inputs_gives_the_published_outputs(
    robot: str, request: pytest.FixtureRequest
) -> None:
    golden = np.load(request.getfixturevalue(f"{robot}_folder") / "golden.npz")
    backend = request.getfixturevalue(f"{robot}_replay").backend
    backend.inputs["obs"][:] = golden["arange_obs"]
    backend.run()
    np.testing.assert_allclose(
        backend.outputs["actions"], golden["arange_actions"], rtol=0, atol=TOLERANCE
    )


class BagFeeder:
    """Writes a bag's messages into the state, each when its time has come."""

    def __init__(self, replay: Replay) -> None:
        self._state = replay.state
        self._order = JointOrder(replay.names)
        self.sensed_ns = {"/joint_states": 0, "/imu/data": 0}
        self.name_orders: set[tuple[str, ...]] = set()

    def feed(self, topic: str, message: Any) -> None:
        if topic == "/cmd_vel":
            linear, angular = message.linear, message.angular
            self._state["velocity_command"][:] = linear.x, linear.y, angular.z
            return
        stamp = message.header.stamp
        self.sensed_ns[topic] = stamp.sec * 1_000_000_000 + stamp.nanosec
        if topic == "/imu/data":
            q, rate = message.orientation, message.angular_velocity
            self._state["quat_xyzw"][:] = q.x, q.y, q.z, q.w
            self._state["ang_vel_body"][:] = rate.x, rate.y, rate.z
            return
        self.name_orders.add(tuple(message.name))
        self._order.take(message.name, message.position, self._state["joint_pos"])
        self._order.take(message.name, message.velocity, self._state["joint_vel"])

    def due_ns(self) -> int | None:
        """Return the time of a tick for which joints and IMU are there."""
        joints_ns, imu_ns = self.sensed_ns.values()
        return joints_ns if joints_ns == imu_ns and joints_ns % NS_PER_TICK == 0 else None


@pytest.mark.parametrize("bag", ["bag_mcap", "bag_sqlite3"])
def test_a_bag_with_joints_in_another_order_gives_the_same_actions(
    lite3_folder: Path, lite3_replay: Replay, bag: str
) -> None:
    recording = dict(np.load(lite3_folder / "rollout_50hz.npz"))
    feeder = BagFeeder(lite3_replay)
    rows: list[int] = []
    with AnyReader([lite3_folder / bag]) as reader:
        for connection, _, raw in reader.messages():
            feeder.feed(connection.topic, reader.deserialize(raw, connection.msgtype))
            time_ns = feeder.due_ns()
            row = None if time_ns is None else time_ns // NS_PER_TICK
            if row is None or connection.topic == "/cmd_vel" or row in rows:
                continue
            if not rows:
                lite3_replay.state["last_action"][:] = recording["action"][row - 1]
            rows.append(row)
            observation, action = lite3_replay.step()
            np.testing.assert_allclose(observation, recording["obs"][row], rtol=0, atol=TOLERANCE)
            np.testing.assert_allclose(action, recording["action"][row], rtol=0, atol=TOLERANCE)
    assert rows == list(range(100, 1101))
    (order,) = feeder.name_orders
    assert order != lite3_replay.names
    assert sorted(order) == sorted(lite3_replay.names)
