# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Steps around the network that change values in another way than a bundle does are refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from model_tools.errors import ToolError
from model_tools.files.lerobot.statistics import PolicyStatistics
from model_tools.make.act.checkpoint import read_checkpoint
from testkit.wording import refusal

from ...make.act.small_checkpoints import STATE, config_of, write_checkpoint

PRE, POST = "policy_preprocessor.json", "policy_postprocessor.json"
Step = dict[str, Any]


@pytest.fixture(scope="module")
def written_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("made") / "checkpoint", config_of())


@pytest.fixture
def linked_checkpoint(written_checkpoint: Path, tmp_path: Path) -> Path:
    """A checkpoint whose pipelines a test may change; its weights are a link."""
    for file in written_checkpoint.iterdir():
        (tmp_path / file.name).symlink_to(file)
    for name in (PRE, POST):
        (tmp_path / name).unlink()
        (tmp_path / name).write_bytes((written_checkpoint / name).read_bytes())
    return tmp_path


def read_scalings(linked_checkpoint: Path) -> PolicyStatistics:
    return read_checkpoint(linked_checkpoint).statistics


def steps_of(linked_checkpoint: Path, file: str) -> list[Step]:
    found: list[Step] = json.loads((linked_checkpoint / file).read_text())["steps"]
    return found


def write_steps(linked_checkpoint: Path, file: str, steps: list[Step]) -> None:
    (linked_checkpoint / file).write_text(json.dumps({"steps": steps}))


@pytest.mark.parametrize(
    ("file", "name", "more"),
    [
        (PRE, "relative_actions_processor", {"config": {}}),
        (POST, "absolute_actions_processor", {}),
        (PRE, "image_crop_resize_processor", {"config": {"resize_size": [64, 64]}}),
        (PRE, "joint_velocity_processor", {}),
        (PRE, "smooth_processor", {}),
        (POST, "", {"class": "lab.steps.SmoothActions"}),
        (PRE, "", {"class": "lab.steps.device_processor"}),
        (PRE, "", {}),
        (PRE, "unnormalizer_processor", {}),
        (POST, "rename_observations_processor", {}),
        (PRE, "device_processor", {"config": {"float_dtype": "float16"}}),
    ],
)
def test_step_that_changes_values_is_named_with_what_it_does(
    linked_checkpoint: Path, file: str, name: str, more: Step
) -> None:
    steps = steps_of(linked_checkpoint, file)
    step = {"registry_name": name, **more} if name else more
    write_steps(linked_checkpoint, file, [*steps, step])

    with refusal(ToolError):
        read_scalings(linked_checkpoint)


def test_order_and_number_of_the_known_steps_are_judged(linked_checkpoint: Path) -> None:
    steps = steps_of(linked_checkpoint, PRE)
    late = {**steps[0], "config": {"rename_map": {"observation.images.laptop": STATE}}}
    alone = {"registry_name": "image_crop_resize_processor"}
    for wrong in ([*steps, steps[1]], [*steps, late], [alone]):
        write_steps(linked_checkpoint, PRE, wrong)
        with refusal(ToolError):
            read_scalings(linked_checkpoint)


def test_inputs_that_the_normalizer_leaves_out_stay_as_they_are(linked_checkpoint: Path) -> None:
    steps = steps_of(linked_checkpoint, PRE)
    steps[1]["config"]["normalize_observation_keys"] = [STATE]
    write_steps(linked_checkpoint, PRE, steps)

    modes = {
        name: scaling.mode for name, scaling in read_scalings(linked_checkpoint).scalings.items()
    }

    assert modes.pop(STATE) == "mean_std"
    assert modes.pop("action") == "mean_std"
    assert set(modes.values()) == {"identity"}
