# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The content of a mapping, and refusals of invalid mappings."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import jsonschema
import pytest
import yaml

from lerobot_bridge.mapping_file import MAPPINGS, load_mapping, mapping_schema, shipped
from policy_core.errors import BundleError
from testkit.wording import refusal

from .mapping_cases import MAPPING, MISSING, rolling_arm, rolling_arm_with

JOINT_STATE = {"topic": "more", "type": "sensor_msgs/msg/JointState"}
SPEED = {**JOINT_STATE, "quantity": "velocity", "joints": ["shoulder"]}
JOINTS = ["shoulder", "elbow", "gripper"]
FRONT = MAPPING["cameras"]["front"]

Case = tuple[Mapping[str, object], str]
"""Changes of the mapping, and the first problem that they make, up to its end."""

OF_ONE_FIELD: list[Case] = [
    ({"vectors/action/0/topic": "/leader/"}, "vectors.action[0].topic"),
    ({"command/1/limits/x.vel": [0.5]}, "command[1].limits.x.vel"),
]
OF_UNITS: list[Case] = [
    ({"joints/elbow/low_rad": MISSING}, "joints.elbow"),
    ({"joints/elbow/low_rad": -2.0}, "joints.elbow"),
    ({"joints/elbow/sign": -1}, "joints.elbow"),
    ({"joints/shoulder/low_rad": 1.0}, "joints.shoulder"),
    ({"joints/shoulder/position_max": -1.0}, "joints.shoulder.position_max"),
]
OF_CHANNELS: list[Case] = [
    ({"joints/left.knee": {"unit": "degrees"}}, "joints.left.knee"),
    ({"vectors/state": [JOINT_STATE]}, "vectors.state"),
    ({"vectors/observation.images.top": [JOINT_STATE]}, "vectors.observation.images.top"),
    ({"vectors/observation.empty": []}, "vectors.observation.empty"),
    ({"vectors/action/1/joints": ["elbow"]}, "vectors.action[1]"),
    ({"vectors/action/0/joints": ["wrist"]}, "vectors.action[0].joints"),
    ({"joints/elbow/ros_name": "joint_1"}, "vectors.observation.state[0].joints"),
    ({"vectors/action/1/fields/x.vel": "linear[x]"}, "vectors.action[1].fields.x.vel"),
    (
        {"vectors/observation.environment_state/0/fields": {"elbow.pos": "data[2]"}},
        "vectors.observation.environment_state[0].fields.elbow.pos",
    ),
    ({"vectors/action/1/degrees": ["y.vel"]}, "vectors.action[1].degrees"),
    ({"vectors/action/0/degrees": ["elbow.pos"]}, "vectors.action[0].degrees"),
    (
        {"vectors/observation.environment_state/0/fields": MISSING},
        "vectors.observation.environment_state[0].joints",
    ),
    ({"vectors/observation.state/1/fields": MISSING}, "vectors.observation.state[1].fields"),
    ({"joints": {}}, "vectors.observation.state[0].joints"),
    ({"vectors/action/1/quantity": "velocity"}, "vectors.action[1].quantity"),
    (
        {"vectors/observation.speed": [{**SPEED, "joints": ["elbow"]}]},
        "vectors.observation.speed[0].quantity",
    ),
    (
        {"vectors/observation.speed": [{**SPEED, "type": "trajectory_msgs/msg/JointTrajectory"}]},
        "vectors.observation.speed[0].quantity",
    ),
    ({"vectors/observation.state/2": JOINT_STATE}, "vectors.observation.state"),
    ({"cameras/front/topic": "joint_states"}, "cameras.front.topic"),
    ({"cameras/front/topic": "wrist/image_raw"}, "cameras"),
    ({"cameras/top.left": {**FRONT, "topic": "top/image_raw"}}, "cameras.top.left"),
    (
        {
            "vectors/action/0/topic": "/joint_states",
            "vectors/action/0/joints": JOINTS,
            "vectors/action/0/type": "std_msgs/msg/Float64MultiArray",
        },
        "vectors.action[0].type",
    ),
]
OF_COMMANDS: list[Case] = [
    ({"command/1/type": "nav_msgs/msg/Odometry", "command/1/topic": "odom"}, "command[1].type"),
    ({"command/0/fields": {"elbow": "position[0]"}}, "command[0].fields"),
    ({"command/1/fields/elbow.pos": "linear.y"}, "command[1].fields.elbow.pos"),
    ({"command/1/limits/x.vel": MISSING}, "command[1].limits.x.vel"),
    ({"command/1/limits/y.vel": [-1, 1]}, "command[1].limits.y.vel"),
    ({"command/1/limits/x.vel": [0.5, -0.5]}, "command[1].limits.x.vel"),
    ({"joints/elbow/stiffness": MISSING}, "joints.elbow.stiffness"),
    (
        {"command/1/topic": "joint_command", "command/1/type": "policy_msgs/msg/JointCommand"},
        "command[1].fields",
    ),
    ({"command/1": {"topic": "again", "type": "sensor_msgs/msg/JointState"}}, "command"),
    ({"command/1/topic": "joint_command"}, "command"),
    ({"command/0/joints": ["shoulder", "elbow"]}, "command"),
]


@pytest.mark.parametrize(("changes", "key"), [*OF_ONE_FIELD, *OF_UNITS, *OF_CHANNELS, *OF_COMMANDS])
def test_fault_is_named(changes: Mapping[str, object], key: str) -> None:
    with refusal(BundleError) as caught:
        rolling_arm(**changes)

    assert key in [problem.key for problem in caught.value.problems]


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with refusal(BundleError):
        load_mapping(tmp_path / "robot.yaml")


def test_command_may_send_the_values_of_the_action_in_another_order() -> None:
    content = rolling_arm_with()
    content["command"].reverse()

    assert set(rolling_arm(content).command_names) == set(rolling_arm().names("action"))


def test_where_the_newest_counts_all_that_is_observed_counts_when_it_arrives() -> None:
    newest = {"pairing": {"rule": "newest"}}
    with pytest.raises(BundleError) as caught:
        rolling_arm(**newest)

    assert [problem.key for problem in caught.value.problems] == [
        "cameras.front.stamp",
        "cameras.wrist.stamp",
        "vectors.observation.state[0].stamp",
        "vectors.observation.state[1].stamp",
        "vectors.observation.effort[0].stamp",
        "vectors.observation.environment_state[0].stamp",
    ]


SCHEMA = MAPPINGS / "mapping.schema.json"


@pytest.fixture(scope="module")
def mapping_validator() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(mapping_schema())
    return jsonschema.Draft202012Validator(mapping_schema())


def test_committed_schema_is_current() -> None:
    committed = json.loads(SCHEMA.read_text(encoding="utf-8"))

    assert committed == mapping_schema(), "run python -m tools.write_schema"


@pytest.mark.parametrize("file", shipped().values(), ids=lambda file: file.stem)
def test_shipped_mapping_is_accepted_and_names_its_schema(
    file: Path, mapping_validator: jsonschema.Draft202012Validator
) -> None:
    text = file.read_text(encoding="utf-8")

    mapping_validator.validate(yaml.safe_load(text))
    assert text.splitlines()[0].endswith(f"$schema={SCHEMA.name}")


@pytest.mark.parametrize("case", OF_ONE_FIELD, ids=lambda case: case[1].partition(":")[0])
def test_wrong_value_is_marked_at_its_place(
    mapping_validator: jsonschema.Draft202012Validator, case: Case
) -> None:
    changes, message = case

    assert message.partition(":")[0] in _places_of_errors(
        mapping_validator.iter_errors(rolling_arm_with(**changes))
    )


def _places_of_errors(errors: Iterable[jsonschema.ValidationError]) -> Iterator[str]:
    for error in errors:
        path = [f"[{x}]" if isinstance(x, int) else f".{x}" for x in error.absolute_path]
        yield "".join(path).removeprefix(".")
        yield from _places_of_errors(error.context or ())
