# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Any mapping file gives a mapping whose names can be listed, or one error."""

import pytest
import yaml
from hypothesis import given

from lerobot_bridge.mapping import field_steps
from lerobot_bridge.mapping_file import parse_mapping, shipped
from policy_core.errors import BundleError
from testkit.fuzzing import bounded, changed_values

from .mapping_cases import MAPPING

SHIPPED = [yaml.safe_load(file.read_bytes()) for file in shipped().values()]


@pytest.mark.fuzz
@given(changed_values(MAPPING, *SHIPPED))
def test_any_mapping_is_one_or_one_error(content: object) -> None:
    try:
        with bounded():
            mapping = parse_mapping(content, "mapping.yaml")
    except BundleError as error:
        lines = str(error).split("\n")
        assert all(line.isprintable() for line in lines), lines
        return
    names = {feature: mapping.names(feature) for feature in mapping.vectors}
    assert all(names.values())
    for channel in (*mapping.command, *(one for each in mapping.vectors.values() for one in each)):
        assert len(mapping.select_joints(channel)) == len(
            set(map(mapping.ros_name, mapping.select_joints(channel)))
        )
        assert all(map(field_steps, (channel.fields or {}).values()))
    assert mapping.period_ns > 0
