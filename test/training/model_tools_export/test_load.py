# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Files are read as data; what is no checkpoint, or needs more, is refused with the reason."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from model_tools.errors import ToolError
from model_tools.make.checkpoints.load import read_checkpoint
from model_tools.prove.inspect.inspection import InspectionReport
from model_tools.prove.inspect.registry import inspect_path
from testkit.wording import check_wording, refusal

from . import layouts
from .conftest import Exporter
from .layouts import CONFIG

BUNDLE = Path(__file__).resolve().parents[3] / "config" / "bundles" / "lite3_walk"
WEIGHTS = {"actor.0.weight": torch.ones(2, 3)}


@pytest.fixture
def loaded_file(tmp_path: Path) -> Path:
    return tmp_path / "policy.pt"


def test_numpy_scalars_are_read(loaded_file: Path) -> None:
    values = {"f": np.float32(0.5), "d": np.float64(2.5), "i": np.int64(3), "b": np.bool_(True)}
    torch.save({**values, "state_dict": WEIGHTS}, loaded_file)
    beside = read_checkpoint(loaded_file).beside
    assert {name: beside[name] for name in values} == values


def test_numpy_scalars_are_read_whichever_numpy_wrote_them(loaded_file: Path) -> None:
    values = {"f": np.float32(0.5), "state_dict": WEIGHTS}
    torch.save(values, loaded_file, _use_new_zipfile_serialization=False)
    written, other = (
        (b"numpy._core.multiarray", b"numpy.core.multiarray")
        if np.__version__ >= "2"
        else (b"numpy.core.multiarray", b"numpy._core.multiarray")
    )
    content = loaded_file.read_bytes()
    assert written in content
    loaded_file.write_bytes(content.replace(written, other))
    assert read_checkpoint(loaded_file).beside["f"] == np.float32(0.5)


@pytest.mark.parametrize("content", [b"", b"hello", b"<!doctype html>", b"version https://git-lfs"])
def test_another_kind_of_file_is_refused(loaded_file: Path, content: bytes) -> None:
    loaded_file.write_bytes(content)
    with refusal(ToolError):
        read_checkpoint(loaded_file)


@pytest.mark.parametrize("is_zip", [True, False])
def test_damage_anywhere_in_a_file_is_one_kind_of_error(loaded_file: Path, is_zip: bool) -> None:
    torch.save({"a": torch.ones(50)}, loaded_file, _use_new_zipfile_serialization=is_zip)
    content = loaded_file.read_bytes()
    refused = 0
    for place in range(0, len(content), 3):
        loaded_file.write_bytes(
            content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]
        )
        try:
            read_checkpoint(loaded_file)
        except ToolError as error:
            assert f"{loaded_file}: expected" in str(error)  # noqa: PT017  # not every damage is seen
            refused += 1
    assert refused > 10


def test_objects_are_refused_by_their_class(loaded_file: Path) -> None:
    torch.save(nn.Linear(2, 2), loaded_file)
    with refusal(ToolError):
        read_checkpoint(loaded_file, trust_code=True)


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return __import__, ("this",)


@pytest.mark.parametrize("is_zip", [True, False])
def test_code_in_a_checkpoint_does_not_run(loaded_file: Path, is_zip: bool) -> None:
    torch.save({"a": Malicious()}, loaded_file, _use_new_zipfile_serialization=is_zip)
    with refusal(ToolError):
        read_checkpoint(loaded_file, trust_code=True)
    assert "this" not in sys.modules


def test_a_program_is_loaded_only_where_it_is_trusted(loaded_file: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(str(loaded_file))
    with refusal(ToolError):
        read_checkpoint(loaded_file)
    assert isinstance(read_checkpoint(loaded_file, trust_code=True).program, torch.jit.ScriptModule)


@pytest.mark.parametrize(
    "content",
    [
        {"weights": {"actor.0.weight": torch.ones(2, 2)}, "step": 3},
        {"state_dict": {"actor.0.weight": torch.ones(2, 2), "lr": 0.1}},
        {"model": {"actor.0.weight": torch.ones(2, 2)}},
        [torch.ones(2, 2)],
        {},
    ],
)
def test_an_unknown_layout_lists_the_known_ones(export: Exporter, content: object) -> None:
    with refusal(ToolError):
        export(content, CONFIG)


@pytest.mark.parametrize("missing", ["hidden_sizes", "activation"])
def test_what_a_checkpoint_does_not_hold_is_asked_for(export: Exporter, missing: str) -> None:
    config = {key: value for key, value in CONFIG.items() if key != missing}
    with refusal(ToolError):
        export({"actor.0.weight": torch.ones(2, 2)}, config)


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
    check_wording(*found)
    assert len(found) == 2


@pytest.mark.parametrize("path", [BUNDLE, BUNDLE / "policy.onnx"], ids=["bundle", "model"])
def test_torch_is_imported_for_checkpoints_only(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; "
        "from model_tools.prove.inspect.registry import inspect_path; "
        "inspect_path(Path(sys.argv[1])); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, path], check=True)
