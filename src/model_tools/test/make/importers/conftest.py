# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A folder of a training run, and the request to import what lies in it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_tools.make.importers.import_bundle import ImportRequest
from testkit.edits import Edits, with_edits

from .small_runs import save_policy

ANSWERS = (
    "name=two_joints",
    "version='1.0.0'",
    "joints.position_min=-3",
    "joints.position_max=3",
    "joints.velocity_limit=20",
    "joints.effort_limit=30",
    "joints.stiffness=25",
    "joints.damping=0.5",
    "stand.position=@joints.default_position",
    "stand.stiffness=50",
    "stand.damping=1",
    "stand.duration_s=1.5",
    "damp.damping=3",
    "safety.on_fault=damp",
    "safety.max_tilt_rad=1.0",
    "provenance.source=a test",
    "provenance.licence=MIT",
)
"""What no format says, or not each of them."""

MakeRequest = Callable[..., ImportRequest]
WriteRobot = Callable[[str], str]


class Writer(yaml.SafeDumper):
    """Writes slices as the writer of a training does."""


Writer.add_representer(
    slice,
    lambda dumper, value: dumper.represent_sequence(
        "tag:yaml.org,2002:python/object/apply:builtins.slice",
        [value.start, value.stop, value.step],
    ),
)


@pytest.fixture
def request_for(tmp_path: Path) -> MakeRequest:
    """Write a source, with values changed at places, beside a model, and ask to import it."""

    def make(
        source: dict[str, Any] | str,
        width: int,
        changes: Edits | None = None,
        *,
        model: Path | None = None,
        **options: Any,
    ) -> ImportRequest:
        file = tmp_path / "source.yaml"
        if isinstance(source, dict):
            source = yaml.dump(with_edits(source, changes), Dumper=Writer, sort_keys=False)
        file.write_text(source, encoding="utf-8")
        (tmp_path / "agent.yaml").write_text("clip_actions: null", encoding="utf-8")
        model = model or save_policy(tmp_path / "policy.onnx", width, 2)
        return ImportRequest(source=file, model=model, **options)

    return make


@pytest.fixture
def robot_file(tmp_path: Path) -> WriteRobot:
    def write(text: str) -> str:
        file = tmp_path / "robot.xml"
        file.write_text(text, "utf-8")
        return str(file)

    return write
