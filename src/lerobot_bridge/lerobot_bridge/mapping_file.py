# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Loads mapping files; each is validated as a whole.

mapping = load_mapping("so101")          # an included mapping, or the path of a file
mapping.names("observation.state")       # ("shoulder_pan.pos", ..., "gripper.pos")
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lerobot_bridge.mapping import (
    ACTION,
    ARRAYS,
    IMAGES,
    JOINT_COMMAND,
    JOINT_STATE,
    NAME,
    NAMED,
    SENT,
    SUFFIXES,
    TWISTS,
    CameraSource,
    Channel,
    CommandChannel,
    Joint,
    RobotMapping,
    Source,
)
from policy_core.bundle.schema import Found, Reader, json_schema, load_yaml
from policy_core.bundle.validate_chunk import check_unit
from policy_core.errors import BundleError, Problem

MAPPINGS = Path(__file__).parent / "mappings"
_JOINT = r"^[A-Za-z0-9_-]+$"
_FEATURE = r"observation\.[A-Za-z0-9_.]+|action"
_FIELD = re.compile(r"[a-z][a-z0-9_]*(\[\d+\])?(\.[a-z][a-z0-9_]*(\[\d+\])?)*")


def load_mapping(file: str | Path) -> RobotMapping:
    """Read a mapping.

    Args:
        file: Path, or the name of an included mapping, such as `so101`.
    """
    known = shipped()
    path = known.get(str(file), Path(file))
    if not path.exists():
        raise BundleError(
            Problem(
                file=str(file),
                found="nothing",
                expected=f"a mapping file, or an included mapping ({', '.join(known)})",
            )
        )
    return parse_mapping(load_yaml(path), path)


def shipped() -> Mapping[str, Path]:
    return {path.stem: path for path in sorted(MAPPINGS.glob("*.yaml"))}


def mapping_schema() -> dict[str, Any]:
    return json_schema(RobotMapping)


def parse_mapping(content: object, path: object) -> RobotMapping:
    """Validate a file's content as `load_mapping` does."""
    reader = Reader(str(path))
    mapping = reader.section(RobotMapping, content)
    if mapping is not None:
        _MappingValidator(mapping, reader).check()
    if reader.problems:
        raise BundleError(*reader.problems)
    found: RobotMapping = mapping
    return found


class _MappingValidator:
    def __init__(self, mapping: RobotMapping, reader: Reader) -> None:
        self._mapping, self._reader = mapping, reader

    def check(self) -> None:
        mapping = self._mapping
        for name, joint in mapping.joints.items():
            self._joint(f"joints.{name}", joint)
        for feature, sources in mapping.vectors.items():
            self._feature(feature, sources)
        for name in mapping.cameras:
            if not re.fullmatch(NAME, name):
                self._problem(f"cameras.{name}", "a name of letters, digits and _", name)
        self._command()
        self._types()
        self._pairing()

    def _pairing(self) -> None:
        """Require inputs ordered by arrival if frames take the newest message, as on a robot."""
        if self._mapping.pairing.rule != "newest":
            return
        seen: dict[str, Source | CameraSource] = {
            f"cameras.{name}": camera for name, camera in self._mapping.cameras.items()
        }
        for feature, sources in self._mapping.vectors.items():
            if feature != ACTION:
                seen |= {f"vectors.{feature}[{i}]": each for i, each in enumerate(sources)}
        for key, each in seen.items():
            if each.stamp != "received":
                self._problem(
                    f"{key}.stamp",
                    "received (with pairing.rule newest, messages count when they arrive)",
                    each.stamp,
                )

    def _problem(self, key: str, expected: str, found: object, remedy: str = "") -> None:
        self._reader.problem(key, expected, found, remedy)

    def _joint(self, key: str, joint: Joint) -> None:
        name = key.removeprefix("joints.")
        if not re.fullmatch(_JOINT, name):
            self._problem(key, "a name of letters, digits, _ and -", name)
        check_unit(key, joint, self._reader)
        low, high = joint.position_min, joint.position_max
        if low is not None and high is not None and low >= high:
            self._problem(f"{key}.position_max", "more than position_min", joint.position_max)

    def _feature(self, feature: str, sources: Sequence[Source]) -> None:
        key = f"vectors.{feature}"
        if not re.fullmatch(_FEATURE, feature) or feature.startswith(IMAGES):
            self._problem(key, "action or observation.NAME (images belong under cameras)", feature)
        if not sources:
            self._problem(key, "at least one source", Found("an empty list"))
        for i, source in enumerate(sources):
            self._channel(f"{key}[{i}]", source)
            if source.quantity != "position" and source.fields is not None:
                self._problem(
                    f"{key}[{i}].quantity", "no quantity (the fields define it)", source.quantity
                )
            if source.quantity != "position" and source.type not in (JOINT_STATE, JOINT_COMMAND):
                self._problem(
                    f"{key}[{i}].quantity",
                    "position (the only quantity of this type)",
                    source.quantity,
                )
            for joint in self._known(source) if source.quantity == "velocity" else ():
                if self._mapping.joints[joint].unit not in ("radians", "degrees"):
                    self._problem(
                        f"{key}[{i}].quantity",
                        f"position (the unit of {joint} is a range)",
                        source.quantity,
                    )
        self._once(
            key,
            [
                name
                for source in sources
                if self._is_known(source)
                for name in self._mapping.value_names(source, source.quantity)
            ],
        )

    def _channel(self, key: str, channel: Channel) -> None:
        mapping = self._mapping
        if channel.joints is not None and channel.fields is not None:
            self._problem(key, "joints or fields", Found("both"))
        for joint in channel.joints or ():
            if joint not in mapping.joints:
                self._problem(
                    f"{key}.joints",
                    f"one of {', '.join(mapping.joints)}"
                    if mapping.joints
                    else "a joint that is listed under `joints` in the mapping",
                    joint,
                )
        of_joints = {
            f"{joint}.{suffix}" for joint in mapping.joints for suffix in SUFFIXES.values()
        }
        for name, field in (channel.fields or {}).items():
            if not _FIELD.fullmatch(field):
                self._problem(
                    f"{key}.fields.{name}", "a field like twist.linear.x or data[2]", field
                )
            if name in of_joints:
                self._problem(
                    f"{key}.fields.{name}",
                    "a name that no joint value has (fields have no unit and no limits)",
                    name,
                )
        for name in channel.degrees:
            if name not in (channel.fields or {}):
                self._problem(f"{key}.degrees", "values of `fields` (joints have a unit)", name)
        if channel.fields is None:
            if channel.type not in (*NAMED, *ARRAYS):
                self._problem(
                    f"{key}.fields",
                    f"fields of {channel.type} (it names no joints)",
                    Found("nothing"),
                )
            elif not mapping.joints:
                self._problem(
                    f"{key}.joints",
                    "joints that are listed under `joints` in the mapping",
                    Found("none"),
                )
            elif channel.type in ARRAYS and channel.joints is None:
                self._problem(
                    f"{key}.joints",
                    "the joints in array order (the array has no names)",
                    Found("nothing"),
                )
        self._once(f"{key}.joints", [mapping.ros_name(joint) for joint in self._known(channel)])

    def _command(self) -> None:
        mapping = self._mapping
        for i, channel in enumerate(mapping.command):
            key = f"command[{i}]"
            self._channel(key, channel)
            if channel.type not in SENT:
                self._problem(f"{key}.type", f"one of {', '.join(SENT)}", channel.type)
            if channel.type in NAMED and channel.fields is not None:
                self._problem(f"{key}.fields", "joints (a command must name them)", Found("fields"))
            self._limits(key, channel)
            if channel.type == JOINT_COMMAND:
                for joint in self._known(channel):
                    for name in ("stiffness", "damping", "effort_limit"):
                        if getattr(mapping.joints[joint], name) is None:
                            self._problem(
                                f"joints.{joint}.{name}",
                                f"a value ({key} sends JointCommand)",
                                Found("nothing"),
                            )
        names = [
            name
            for channel in mapping.command
            if self._is_known(channel)
            for name in mapping.value_names(channel)
        ]
        self._once("command", names)
        self._once("command", [channel.topic for channel in mapping.command])
        if mapping.command and ACTION in mapping.vectors and not self._reader.problems:
            action = mapping.names(ACTION)
            if set(names) != set(action):
                self._problem(
                    "command",
                    f"the values of the action ({', '.join(action)})",
                    Found(", ".join(names)),
                )

    def _limits(self, key: str, channel: CommandChannel) -> None:
        fields, stops = channel.fields or {}, channel.type in TWISTS
        for name, (low, high) in channel.limits.items():
            where = f"{key}.limits.{name}"
            if name not in fields:
                self._problem(where, "a value of `fields` (joints have their own limits)", name)
            elif low >= high:
                self._problem(where, "the lowest value and a higher one", Found([low, high]))
            elif stops and not low <= 0 <= high:
                self._problem(
                    where, "limits that include 0 (it stops the robot)", Found([low, high])
                )
        for name in fields if stops else ():
            if name not in channel.limits:
                self._problem(
                    f"{key}.limits.{name}",
                    "the lowest and highest value to send (nothing else limits a Twist)",
                    Found("nothing"),
                )

    def _types(self) -> None:
        """Check that each topic has only one type."""
        types: dict[str, str] = {}
        for key, channel in self._channels():
            if types.setdefault(channel.topic.lstrip("/"), channel.type) != channel.type:
                self._problem(
                    f"{key}.type",
                    f"{types[channel.topic.lstrip('/')]} (as in the first use of the topic "
                    f"{channel.topic})",
                    channel.type,
                )
        for name, camera in self._mapping.cameras.items():
            if camera.topic.lstrip("/") in types:
                self._problem(f"cameras.{name}.topic", "a topic of its own", camera.topic)
        self._once("cameras", [camera.topic for camera in self._mapping.cameras.values()])

    def _channels(self) -> Iterator[tuple[str, Channel]]:
        for feature, sources in self._mapping.vectors.items():
            for i, source in enumerate(sources):
                yield f"vectors.{feature}[{i}]", source
        for i, channel in enumerate(self._mapping.command):
            yield f"command[{i}]", channel

    def _known(self, channel: Channel) -> list[str]:
        return [
            joint for joint in self._mapping.select_joints(channel) if joint in self._mapping.joints
        ]

    def _is_known(self, channel: Channel) -> bool:
        return len(self._known(channel)) == len(self._mapping.select_joints(channel))

    def _once(self, key: str, names: Sequence[Any]) -> None:
        doubled = sorted(name for name, count in Counter(names).items() if count > 1)
        if doubled:
            self._problem(key, "each name once", Found(f"{', '.join(doubled)} twice"))
