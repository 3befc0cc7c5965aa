# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The mapping of docs/lerobot.md, and the messages that the guide states for faults in it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from lerobot_bridge.mapping import ACTION, STATE
from lerobot_bridge.mapping_file import mapping_schema, parse_mapping
from policy_core.errors import BundleError

GUIDE = (Path(__file__).resolve().parents[3] / "docs" / "lerobot.md").read_text(encoding="utf-8")
EXAMPLE: dict[str, Any] = yaml.safe_load(GUIDE.split("```yaml\n")[1].partition("```")[0])


def test_example_is_accepted_by_reader_and_schema_and_has_the_documented_names() -> None:
    mapping = parse_mapping(EXAMPLE, "robot.yaml")

    jsonschema.validate(EXAMPLE, mapping_schema())
    names = ("shoulder.pos", "elbow.pos", "gripper.pos", "x.vel", "theta.vel")
    assert mapping.names(STATE) == mapping.names(ACTION) == mapping.command_names == names
    assert f"`observation.state` is {', '.join(f'`{name}`' for name in names)}" in GUIDE


def test_faults_are_reported_as_the_guide_shows_them() -> None:
    block = GUIDE.split("reported at once:\n\n```\n")[1].partition("\n```")[0]
    told = block.replace("\n    ", " ").splitlines()
    content = copy.deepcopy(EXAMPLE)
    del content["joints"]["elbow"]["low_rad"]
    content["vectors"]["action"][0]["joints"] = ["wrist"]
    with pytest.raises(BundleError) as caught:
        parse_mapping(content, "robot.yaml")
    assert str(caught.value).splitlines() == told[:2]

    content = copy.deepcopy(EXAMPLE)
    del content["command"][1]
    with pytest.raises(BundleError) as caught:
        parse_mapping(content, "robot.yaml")
    assert str(caught.value).splitlines() == told[2:]
