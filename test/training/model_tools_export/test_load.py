# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Files are read as data; what is no checkpoint, or needs more, is refused with the reason."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from model_tools.errors import ToolError
from model_tools.make.checkpoints.checkpoint_export import ExportRequest, export
from model_tools.make.checkpoints.load import read_checkpoint
from model_tools.make.checkpoints.network_config import ExportConfig
from testkit.opened_files import counted_opens
from testkit.wording import refusal

from .layouts import ACT, HIDDEN, OBS, mlp, state_dict

WEIGHTS = {"actor.0.weight": torch.ones(2, 3)}


def save_weights(file: Path) -> None:
    torch.save({"model_state_dict": state_dict()[0]}, file)


def save_program(file: Path) -> None:
    torch.jit.script(mlp(OBS, ACT)).save(str(file))


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


def test_a_missing_file_is_named(loaded_file: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"policy\.pt"):
        read_checkpoint(loaded_file)


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
    with pytest.raises(ToolError, match=r"policy.pt: expected"):
        read_checkpoint(loaded_file, trust_code=True)
    assert "this" not in sys.modules


def test_a_program_is_loaded_only_where_it_is_trusted(loaded_file: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(str(loaded_file))
    with refusal(ToolError):
        read_checkpoint(loaded_file)
    assert isinstance(read_checkpoint(loaded_file, trust_code=True).program, torch.jit.ScriptModule)


@pytest.mark.parametrize("saves", [save_weights, save_program])
def test_a_file_is_read_once_and_not_during_the_export(
    loaded_file: Path, saves: Callable[[Path], None]
) -> None:
    saves(loaded_file)
    with counted_opens(loaded_file.parent) as opened:
        checkpoint = read_checkpoint(loaded_file, trust_code=True)
    assert opened == {loaded_file.name: 1}
    loaded_file.unlink()
    config = ExportConfig(obs_dim=OBS, act_dim=ACT, hidden_sizes=HIDDEN, activation="elu")
    output = loaded_file.with_name("policy.onnx")
    assert export(ExportRequest(checkpoint=checkpoint, config=config, output=output)).differences
