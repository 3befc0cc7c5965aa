# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Steps around the network that change values in another way than a bundle does are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from model_tools.errors import ToolError
from model_tools.files.lerobot.statistics import PolicyStatistics, read_statistics
from model_tools.make.act.act_config import read_act_config
from testkit.wording import refusal

from ...make.act.small_checkpoints import STATE, config_of, write_checkpoint

PRE, POST = "policy_preprocessor.json", "policy_postprocessor.json"
Step = dict[str, Any]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as LeRobot writes it."""
    return write_checkpoint(tmp_path_factory.mktemp("made") / "checkpoint", config_of())


@pytest.fixture
def checkpoint(made: Path, tmp_path: Path) -> Path:
    """A checkpoint whose pipelines a test may change; its weights are a link."""
    for file in made.iterdir():
        (tmp_path / file.name).symlink_to(file)
    for name in (PRE, POST):
        (tmp_path / name).unlink()
        (tmp_path / name).write_bytes((made / name).read_bytes())
    return tmp_path


def statistics(checkpoint: Path) -> PolicyStatistics:
    features = read_act_config(checkpoint).features
    return read_statistics(checkpoint, checkpoint / "model.safetensors", features)


def steps_of(checkpoint: Path, file: str) -> list[Step]:
    found: list[Step] = json.loads((checkpoint / file).read_text())["steps"]
    return found


def write(checkpoint: Path, file: str, steps: list[Step]) -> None:
    (checkpoint / file).write_text(json.dumps({"steps": steps}))


@pytest.mark.parametrize("place", [0, -1])
@pytest.mark.parametrize(
    ("file", "step", "found"),
    [
        (
            PRE,
            {"registry_name": "relative_actions_processor", "config": {}},
            "found relative_actions_processor, which makes actions relative to the measured state; "
            "train with absolute joint targets",
        ),
        (
            POST,
            {"registry_name": "absolute_actions_processor"},
            "found absolute_actions_processor, which adds the measured state to the "
            "network's actions",
        ),
        (
            PRE,
            {"registry_name": "image_crop_resize_processor", "config": {"resize_size": [64, 64]}},
            "found image_crop_resize_processor, which crops and resizes images; store the images",
        ),
        (PRE, {"registry_name": "joint_velocity_processor"}, "adds joint velocities to the state"),
        (
            PRE,
            {"registry_name": "smooth_processor"},
            "found smooth_processor, which is unknown here and may change values",
        ),
        (
            POST,
            {"class": "lab.steps.SmoothActions"},
            r"found the class lab\.steps\.SmoothActions, which is unknown here",
        ),
        (
            PRE,
            {"class": "lab.steps.device_processor"},
            r"found the class lab\.steps\.device_processor, which is unknown here",
        ),
        (PRE, {}, "found a step without a name"),
        (PRE, {"registry_name": "unnormalizer_processor"}, "found unnormalizer_processor"),
        (POST, {"registry_name": "rename_observations_processor"}, "found rename_observations_pro"),
        (
            PRE,
            {"registry_name": "device_processor", "config": {"float_dtype": "float16"}},
            "float_dtype: expected float32.*found 'float16'",
        ),
    ],
)
def test_step_that_changes_values_is_named_with_what_it_does(
    checkpoint: Path, file: str, step: Step, found: str, place: int
) -> None:
    steps = steps_of(checkpoint, file)
    steps.insert(len(steps) if place else 0, step)
    write(checkpoint, file, steps)

    with pytest.raises(ToolError, match=found) as error:
        statistics(checkpoint)
    assert str(error.value).startswith(f"{file}: steps[{len(steps) - 1 if place else 0}]")


def test_refusal_names_what_runs_the_policy_as_it_is(checkpoint: Path) -> None:
    write(checkpoint, PRE, [{"registry_name": "image_crop_resize_processor"}])

    with refusal(ToolError):
        statistics(checkpoint)


def test_second_normalizer_is_refused(checkpoint: Path) -> None:
    steps = steps_of(checkpoint, PRE)
    write(checkpoint, PRE, [*steps, steps[1]])

    with refusal(ToolError):
        statistics(checkpoint)


def test_renaming_behind_the_normalizer_is_refused(checkpoint: Path) -> None:
    steps = steps_of(checkpoint, PRE)
    late = {**steps[0], "config": {"rename_map": {"observation.images.laptop": STATE}}}
    write(checkpoint, PRE, [*steps, late])

    with refusal(ToolError):
        statistics(checkpoint)


def test_inputs_that_the_normalizer_leaves_out_stay_as_they_are(checkpoint: Path) -> None:
    steps = steps_of(checkpoint, PRE)
    steps[1]["config"]["normalize_observation_keys"] = [STATE]
    write(checkpoint, PRE, steps)

    modes = {name: scaling.mode for name, scaling in statistics(checkpoint).scalings.items()}

    assert modes.pop(STATE) == "mean_std"
    assert modes.pop("action") == "mean_std"
    assert set(modes.values()) == {"identity"}
