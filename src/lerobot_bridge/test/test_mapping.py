# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a mapping says, and what is refused in one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from lerobot_bridge.mapping_file import load_mapping, parse_mapping
from policy_inference.errors import BundleError

from .mapping_cases import MAPPING, MISSING, changed, mapping_of

JOINT_STATE = {"topic": "more", "type": "sensor_msgs/msg/JointState"}
JOINTS = ["shoulder", "elbow", "gripper"]

Case = tuple[Mapping[str, object], str]
"""Changes of the mapping, and the first problem that they make, up to its end."""

OF_ONE_FIELD: list[Case] = [
    ({"schema_version": 2}, "schema_version: expected one of 1, found 2"),
    ({"robot_type": "so 101"}, "robot_type: expected text like"),
    ({"rate_hz": 0}, "rate_hz: expected a whole number >= 1, found 0"),
    ({"rate_hz": 30.5}, "rate_hz: expected a whole number, found 30.5"),
    ({"vectors": {}}, "vectors: expected at least one entry, found an empty mapping"),
    ({"joints/elbow/unit": "ticks"}, "joints.elbow.unit: expected one of radians, degrees, "),
    (
        {"joints/elbow/max_relative_target": 0},
        "joints.elbow.max_relative_target: expected a number > 0, found 0",
    ),
    ({"joints/elbow/stiffness": -1}, "joints.elbow.stiffness: expected a number >= 0, found -1"),
    ({"vectors/action/0/topic": "/leader/"}, "vectors.action[0].topic: expected text like"),
    (
        {"vectors/action/0/type": "sensor_msgs/JointState"},
        "vectors.action[0].type: expected text like",
    ),
    ({"vectors/action/0/joints": []}, "vectors.action[0].joints: expected at least one value"),
    ({"vectors/action/1/fields": {}}, "vectors.action[1].fields: expected at least one entry"),
    (
        {"vectors/action/0/resample": "nearest"},
        "vectors.action[0].resample: expected one of hold, as_of, drop, found nearest",
    ),
    (
        {"vectors/action/0/stamp": "log"},
        "vectors.action[0].stamp: expected one of header, received, found log",
    ),
    (
        {"vectors/action/0/quantity": "torque"},
        "vectors.action[0].quantity: expected one of position, velocity, effort, found torque",
    ),
    (
        {"vectors/action/0/tolerance_s": 0},
        "vectors.action[0].tolerance_s: expected a number > 0, found 0",
    ),
    (
        {"vectors/action/0/timeout_s": -0.5},
        "vectors.action[0].timeout_s: expected a number > 0, found -0.5",
    ),
    ({"cameras/front/height": 0}, "cameras.front.height: expected a whole number >= 1, found 0"),
    (
        {"cameras/front/width": 10_000},
        "cameras.front.width: expected a whole number <= 8192, found 10000",
    ),
    ({"cameras/front/resize": 1}, "cameras.front.resize: expected true or false, found 1"),
    ({"command/1/limits/x.vel": [0.5]}, "command[1].limits.x.vel: expected 2 values, found 1"),
    ({"max_gap_frames": -1}, "max_gap_frames: expected a whole number >= 0, found -1"),
]
REQUIRED = [
    "schema_version",
    "robot_type",
    "rate_hz",
    "vectors",
    "joints/elbow/unit",
    "vectors/action/0/topic",
    "vectors/action/0/type",
    "cameras/front/topic",
    "cameras/front/height",
    "cameras/front/width",
    "command/0/topic",
    "command/0/type",
]
SECTIONS = ["", "joints/elbow/", "vectors/action/0/", "cameras/front/", "command/0/"]
OF_UNITS: list[Case] = [
    (
        {"joints/elbow/low_rad": MISSING},
        "joints.elbow: expected two different positions low_rad and high_rad, since range_m100_100 "
        "counts between them, found [None, -2.0]",
    ),
    (
        {"joints/elbow/low_rad": -2.0},
        "joints.elbow: expected two different positions low_rad and high_rad, since range_m100_100 "
        "counts between them, found [-2.0, -2.0]",
    ),
    (
        {"joints/elbow/sign": -1},
        "joints.elbow: expected neither sign nor zero_rad, found one of them; exchange low_rad and "
        "high_rad where the range is reversed",
    ),
    (
        {"joints/shoulder/low_rad": 1.0},
        "joints.shoulder: expected neither low_rad nor high_rad for degrees, found [1.0, None]",
    ),
    (
        {"joints/shoulder/position_max": -1.0},
        "joints.shoulder.position_max: expected more than position_min, found -1.0",
    ),
    (
        {"joints/shoulder/position_min": 1.5},
        "joints.shoulder.position_max: expected more than position_min, found 1.0",
    ),
]
OF_CHANNELS: list[Case] = [
    (
        {"joints/left.knee": {"unit": "degrees"}},
        "joints.left.knee: expected a name of letters, digits, _ and -, found left.knee",
    ),
    (
        {"vectors/state": [JOINT_STATE]},
        "vectors.state: expected action, or observation. and a name; images belong to cameras, "
        "found state",
    ),
    (
        {"vectors/observation.images.top": [JOINT_STATE]},
        "vectors.observation.images.top: expected action, or observation. and a name; images "
        "belong to cameras, found observation.images.top",
    ),
    (
        {"vectors/observation.empty": []},
        "vectors.observation.empty: expected at least one source, found an empty list",
    ),
    (
        {"vectors/action/1/joints": ["elbow"]},
        "vectors.action[1]: expected joints or fields, found both",
    ),
    (
        {"vectors/action/0/joints": ["wrist"]},
        "vectors.action[0].joints: expected one of shoulder, elbow, gripper, found wrist",
    ),
    (
        {"vectors/action/0/joints": ["elbow", "elbow"]},
        "vectors.action[0].joints: expected each name once, found elbow twice",
    ),
    (
        {"joints/elbow/ros_name": "joint_1"},
        "vectors.observation.state[0].joints: expected each name once, found joint_1 twice",
    ),
    (
        {"vectors/action/1/fields/x.vel": "linear[x]"},
        "vectors.action[1].fields.x.vel: expected a field like twist.linear.x or data[2], found "
        "linear[x]",
    ),
    (
        {"vectors/action/1/fields/x.vel": "_Twist__linear.x"},
        "vectors.action[1].fields.x.vel: expected a field like twist.linear.x or data[2], found "
        "_Twist__linear.x",
    ),
    (
        {"vectors/observation.environment_state/0/fields": {"elbow.pos": "data[2]"}},
        "vectors.observation.environment_state[0].fields.elbow.pos: expected a name that is not a "
        "value of a joint, whose unit and limits fields lack, found elbow.pos",
    ),
    (
        {"vectors/action/1/degrees": ["y.vel"]},
        "vectors.action[1].degrees: expected values of `fields`; joints have a unit, found y.vel",
    ),
    (
        {"vectors/action/0/degrees": ["elbow.pos"]},
        "vectors.action[0].degrees: expected values of `fields`; joints have a unit, found "
        "elbow.pos",
    ),
    (
        {"vectors/observation.environment_state/0/fields": MISSING},
        "vectors.observation.environment_state[0].joints: expected the joints in the order of the "
        "array, which names none, found nothing",
    ),
    (
        {"vectors/observation.state/1/fields": MISSING},
        "vectors.observation.state[1].fields: expected fields of nav_msgs/msg/Odometry, which "
        "names no joints, found nothing",
    ),
    (
        {"joints": {}},
        "vectors.observation.state[0].joints: expected joints, which the mapping lists under "
        "`joints`, found none",
    ),
    (
        {"vectors/action/1/quantity": "velocity"},
        "vectors.action[1].quantity: expected no quantity, which the fields define, found velocity",
    ),
    (
        {
            "vectors/observation.speed": [
                {**JOINT_STATE, "quantity": "velocity", "joints": ["elbow"]}
            ]
        },
        "vectors.observation.speed[0].quantity: expected position, since the joint elbow counts in "
        "a range, found velocity",
    ),
    (
        {
            "vectors/observation.speed": [
                {
                    "topic": "plan",
                    "quantity": "velocity",
                    "type": "trajectory_msgs/msg/JointTrajectory",
                    "joints": ["shoulder"],
                }
            ]
        },
        "vectors.observation.speed[0].quantity: expected position, all that the type has, found "
        "velocity",
    ),
    (
        {"vectors/observation.state/2": JOINT_STATE},
        "vectors.observation.state: expected each name once, found elbow.pos, gripper.pos, "
        "shoulder.pos twice",
    ),
    (
        {"cameras/front": {"topic": "joint_states", "height": 480, "width": 640}},
        "cameras.front.topic: expected a topic of its own, found joint_states",
    ),
    (
        {"cameras/front": {"topic": "wrist/image_raw", "height": 480, "width": 640}},
        "cameras: expected each name once, found wrist/image_raw twice",
    ),
    (
        {"cameras/top.left": {"topic": "top/image_raw", "height": 480, "width": 640}},
        "cameras.top.left: expected a name of letters, digits and _, found top.left",
    ),
    (
        {
            "vectors/action/0/topic": "/joint_states",
            "vectors/action/0/joints": JOINTS,
            "vectors/action/0/type": "std_msgs/msg/Float64MultiArray",
        },
        "vectors.action[0].type: expected sensor_msgs/msg/JointState, as where the topic "
        "/joint_states is named first, found std_msgs/msg/Float64MultiArray",
    ),
]
OF_COMMANDS: list[Case] = [
    (
        {"command/1/type": "nav_msgs/msg/Odometry", "command/1/topic": "odom"},
        "command[1].type: expected one of sensor_msgs/msg/JointState, ",
    ),
    (
        {"command/0/fields": {"elbow": "position[0]"}},
        "command[0].fields: expected joints, since a command must name them, found fields",
    ),
    (
        {"command/1/fields/elbow.pos": "linear.y"},
        "command[1].fields.elbow.pos: expected a name that is not a value of a joint, whose unit "
        "and limits fields lack, found elbow.pos",
    ),
    (
        {"command/1/limits/x.vel": MISSING},
        "command[1].limits.x.vel: expected the lowest and highest value that is sent, since "
        "nothing else limits a Twist, found nothing",
    ),
    (
        {"command/1/limits/y.vel": [-1, 1]},
        "command[1].limits.y.vel: expected a value of `fields`; joints have limits of their own, "
        "found y.vel",
    ),
    (
        {"command/1/limits/x.vel": [0.5, -0.5]},
        "command[1].limits.x.vel: expected the lowest value and a higher one, found [0.5, -0.5]",
    ),
    (
        {"command/1/limits/x.vel": [0.1, 0.5]},
        "command[1].limits.x.vel: expected limits about 0, with which it stops, found [0.1, 0.5]",
    ),
    (
        {"joints/elbow/stiffness": MISSING},
        "joints.elbow.stiffness: expected a value, since command[0] sends JointCommand, found "
        "nothing",
    ),
    (
        {"joints/elbow/effort_limit": MISSING},
        "joints.elbow.effort_limit: expected a value, since command[0] sends JointCommand, found "
        "nothing",
    ),
    (
        {"command/1/topic": "joint_command", "command/1/type": "policy_msgs/msg/JointCommand"},
        "command[1].fields: expected joints, since a command must name them, found fields",
    ),
    (
        {"command/1": {"topic": "again", "type": "sensor_msgs/msg/JointState"}},
        "command: expected each name once, found elbow.pos, gripper.pos, shoulder.pos twice",
    ),
    (
        {"command/1/topic": "joint_command"},
        "command: expected each name once, found joint_command twice",
    ),
    (
        {"command/0/joints": ["shoulder", "elbow"]},
        "command: expected the values of the action, shoulder.pos, elbow.pos, gripper.pos, x.vel, "
        "theta.vel, found shoulder.pos, elbow.pos, x.vel, theta.vel",
    ),
]


@pytest.mark.parametrize(
    "case",
    [*OF_ONE_FIELD, *OF_UNITS, *OF_CHANNELS, *OF_COMMANDS],
    ids=lambda case: case[1].partition(", found")[0][:70],
)
def test_fault_is_named(case: Case) -> None:
    changes, expected = case

    with pytest.raises(BundleError) as caught:
        mapping_of(**changes)

    problems = str(caught.value).replace("'", "").splitlines()
    assert any(problem.startswith(f"robot.yaml: {expected}") for problem in problems), problems


@pytest.mark.parametrize("key", REQUIRED)
def test_missing_key_is_named(key: str) -> None:
    with pytest.raises(BundleError, match="found nothing") as caught:
        mapping_of(**{key: MISSING})

    shown = key.replace("/0", "[0]").replace("/", ".")
    assert str(caught.value).startswith(f"robot.yaml: {shown}: expected")


@pytest.mark.parametrize("section", SECTIONS)
def test_unknown_key_is_named(section: str) -> None:
    with pytest.raises(BundleError, match="surprise: expected one of the keys"):
        mapping_of(**{f"{section}surprise": 1})


def test_all_faults_are_reported_at_once() -> None:
    with pytest.raises(BundleError) as caught:
        mapping_of(
            **{
                "joints/elbow/low_rad": MISSING,
                "vectors/action/0/joints": ["wrist"],
                "cameras/front/topic": "odom",
            }
        )

    assert [problem.key for problem in caught.value.problems] == [
        "joints.elbow",
        "vectors.action[0].joints",
        "cameras.front.topic",
    ]


def test_a_fault_in_one_section_hides_none_in_another() -> None:
    with pytest.raises(BundleError) as caught:
        mapping_of(
            **{
                "rate_hz": 0,
                "joints/elbow/unit": "ticks",
                "vectors/action/0/joints": ["wrist", "elbow"],
                "vectors/observation.state/0/tolerance_s": -1,
                "cameras/front/topic": "odom",
                "command/0/joints": ["claw"],
            }
        )

    # Of the state, which has a fault, no more is said, and nothing of what hangs on the elbow.
    assert [problem.key for problem in caught.value.problems] == [
        "rate_hz",
        "joints.elbow.unit",
        "vectors.observation.state[0].tolerance_s",
        "vectors.action[0].joints",
        "command[0].joints",
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"joints": ["elbow"]},
        {"vectors": 7, "cameras": 3},
        {"joints": {1: {}}},
        {"command": "odom"},
        {"vectors/action": "joint_states"},
        {"cameras/front": None},
        {"joints/elbow": []},
    ],
)
def test_sections_that_are_none_are_named(changes: Mapping[str, object]) -> None:
    with pytest.raises(BundleError, match=r"expected a (list|mapping)") as caught:
        mapping_of(**changes)

    assert len(caught.value.problems) == len(changes)


@pytest.mark.parametrize("content", [None, [], "so101", 7])
def test_file_that_is_no_mapping_rejected(content: object) -> None:
    with pytest.raises(BundleError, match="expected a mapping"):
        parse_mapping(content, "robot.yaml")


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        BundleError,
        match=r"robot\.yaml: expected a mapping file, or an included "
        r"mapping \(lekiwi, so100, .*\), found nothing",
    ):
        load_mapping(tmp_path / "robot.yaml")


def test_doubled_joint_rejected(tmp_path: Path) -> None:
    file = tmp_path / "robot.yaml"
    file.write_text(
        yaml.safe_dump(MAPPING).replace("  gripper:\n", "  elbow:\n", 1), encoding="utf-8"
    )

    with pytest.raises(BundleError, match="the key elbow stands twice"):
        load_mapping(file)


def test_values_are_called_as_lerobot_calls_them_in_the_order_of_the_sources() -> None:
    mapping = mapping_of()

    assert mapping.names("observation.state") == (
        "shoulder.pos",
        "elbow.pos",
        "gripper.pos",
        "x.vel",
        "theta.vel",
    )
    assert mapping.names("observation.effort") == ("gripper.eff", "shoulder.eff")
    assert mapping.names("observation.environment_state") == ("cube.z",)
    assert mapping.command_names == mapping.names("action")


def test_velocities_of_joints_in_degrees_have_names_of_their_own() -> None:
    mapping = mapping_of(
        **{
            "vectors/observation.speed": [
                {**JOINT_STATE, "quantity": "velocity", "joints": ["shoulder"]}
            ]
        }
    )

    assert mapping.names("observation.speed") == ("shoulder.vel",)


def test_command_may_send_the_values_of_the_action_in_another_order() -> None:
    content = changed()
    content["command"].reverse()

    assert set(mapping_of(content).command_names) == set(mapping_of().names("action"))


def test_mapping_that_only_watches_needs_neither_commands_nor_joints() -> None:
    mapping = mapping_of(
        {
            "schema_version": 1,
            "robot_type": "base",
            "rate_hz": 5,
            "vectors": {
                "action": [
                    {
                        "topic": "cmd_vel",
                        "type": "geometry_msgs/msg/TwistStamped",
                        "fields": {"x.vel": "twist.linear.x"},
                    }
                ]
            },
        }
    )

    assert mapping.command_names == ()
    assert mapping.names("action") == ("x.vel",)


def test_tolerance_is_two_periods_unless_it_is_given() -> None:
    mapping = mapping_of()
    leader, _ = mapping.vectors["action"]

    assert mapping.tolerance_ns(mapping.vectors["observation.state"][0]) == 200_000_000
    assert mapping.tolerance_ns(leader) == 500_000_000
    assert mapping.tolerance_ns(mapping.cameras["wrist"]) == 100_000_000


def test_where_the_newest_counts_all_that_is_observed_counts_when_it_arrives() -> None:
    newest = {"pairing": {"rule": "newest"}}
    with pytest.raises(BundleError) as caught:
        mapping_of(**newest)

    assert [problem.key for problem in caught.value.problems] == [
        "cameras.front.stamp",
        "cameras.wrist.stamp",
        "vectors.observation.state[0].stamp",
        "vectors.observation.state[1].stamp",
        "vectors.observation.effort[0].stamp",
        "vectors.observation.environment_state[0].stamp",
    ]
