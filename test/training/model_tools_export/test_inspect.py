# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What inspect shows of a training's checkpoint, and that nothing else needs torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from model_tools.prove.inspect.inspection import InspectionReport
from model_tools.prove.inspect.registry import inspect_path

from . import layouts


@pytest.fixture
def inspected_file(tmp_path: Path) -> Path:
    return tmp_path / "policy.pt"


def inspected_checkpoint(inspected_file: Path, content: object) -> InspectionReport:
    torch.save(content, inspected_file)
    return inspect_path(inspected_file)


def row_values(report: InspectionReport, name: str) -> list[str]:
    return [str(value) for key, value in report.rows if key == name]


@pytest.mark.parametrize(
    ("content", "layout", "actors", "statistics"),
    [
        (layouts.state_dict, "state dict", ["actor.* (6-16-8-3)"], ""),
        (layouts.wrapped_state_dict, "state dict", ["actor.* (6-16-8-3)"], ""),
        (layouts.rsl_rl_2, "rsl_rl", ["actor.* (6-16-8-3)"], "obs_norm as of rsl_rl, 6 values"),
        (
            layouts.rsl_rl_5,
            "rsl_rl",
            ["actor.mlp.* (6-16-8-3)"],
            "actor.obs_normalizer as of rsl_rl, 6 values",
        ),
        (
            layouts.skrl_separate,
            "skrl",
            ["policy.net_container.* (6-16-8-3)"],
            "state_preprocessor as of skrl, 6 values",
        ),
        (
            layouts.rl_games,
            "rl_games",
            ["a2c_network.actor_mlp.* (6-16-8)", "a2c_network.mu (8-3)"],
            "running_mean_std as of rl_games, 6 values",
        ),
    ],
)
def test_a_checkpoint_shows_its_layout_and_what_could_be_the_actor(
    inspected_file: Path, content: type, layout: str, actors: list[str], statistics: str
) -> None:
    report = inspected_checkpoint(inspected_file, content()[0])
    assert row_values(report, "layout") == [layout]
    assert row_values(report, "could be the actor") == actors
    found = row_values(report, "running statistics")
    assert [text.partition(";")[0] for text in found] == ([statistics] if statistics else [])
    assert report.suspicions == []


def test_weights_and_statistics_that_cannot_be_right_are_named(inspected_file: Path) -> None:
    norm = layouts.empirical(layouts.OBS)
    norm._std[0, 2] = 0.0
    model = layouts.Module(actor=layouts.mlp(6, 3), actor_obs_normalizer=norm)
    content = {"model_state_dict": model.state_dict()}
    content["model_state_dict"]["actor.0.bias"][3] = float("nan")
    found = inspected_checkpoint(inspected_file, content).suspicions
    assert any("actor.0.bias" in text for text in found)
    assert any("spread" in text for text in found)
    assert len(found) == 2


def test_torch_is_imported_for_checkpoints_only(tmp_path: Path, inspected_file: Path) -> None:
    np.savez(tmp_path / "rows.npz", obs=np.ones((2, 3)))
    torch.jit.script(nn.Linear(2, 2)).save(str(inspected_file))
    code = (
        "import sys; from pathlib import Path; "
        "from model_tools.prove.inspect.registry import inspect_path; "
        "[inspect_path(Path(name)) for name in sys.argv[1:]]; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "rows.npz", inspected_file], check=True)
