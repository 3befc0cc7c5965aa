# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from model_tools.errors import ToolError
from model_tools.make.importers.import_bundle import choose
from model_tools.make.importers.source import read_source
from testkit.wording import refusal

from .small_models import save_policy


def some_yaml(folder: Path, text: str) -> Path:
    file = folder / "some.yaml"
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("{joint_ids_map: [], step_dt: 0.02, observations: {}}", "unitree_deploy_yaml"),
        ("{models: {}, pipeline: {}}", "leapp"),
        ("{go2/walk: {observations: [], rl_kp: [], rl_kd: [], action_scale: []}}", "rl_sar"),
        ("{actions: [], articulations: {}, observations: {}}", "isaaclab_io_descriptor"),
        ("{sim: {}, decimation: 1, scene: {}, observations: {}, actions: {}}", "isaaclab_env_yaml"),
    ],
)
def test_a_format_is_recognised_by_what_is_in_the_file(
    tmp_path: Path, text: str, name: str
) -> None:
    importer = choose(read_source(some_yaml(tmp_path, text)))
    assert name == importer.NAME


@pytest.mark.parametrize(
    ("metadata", "name"), [({"joint_names": "hip"}, "onnx_metadata"), ({}, "bare_onnx")]
)
def test_a_model_is_asked_for_its_metadata(
    tmp_path: Path, metadata: dict[str, str], name: str
) -> None:
    model = save_policy(tmp_path / "policy.onnx", 3, 1, metadata=metadata)
    assert name == choose(read_source(model)).NAME


@pytest.mark.parametrize(
    "text",
    [
        "[1, 2]",
        "{joint_ids_map: [], step_dt: 0.02, observations: {}, models: {}, pipeline: {}}",
    ],
)
def test_a_file_of_no_format_or_of_two_is_refused_with_those_known(
    tmp_path: Path, text: str
) -> None:
    source = read_source(some_yaml(tmp_path, text))
    with refusal(ToolError):
        choose(source)
    assert choose(source, "leapp").NAME == "leapp"
