# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Files are read as data; what is no checkpoint, or needs more, is refused with the reason."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from model_tools.errors import ToolError
from model_tools.make.checkpoints.load import read_checkpoint
from testkit.wording import refusal

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
    with pytest.raises(ToolError, match=r"policy.pt: expected"):
        read_checkpoint(loaded_file, trust_code=True)
    assert "this" not in sys.modules


def test_a_program_is_loaded_only_where_it_is_trusted(loaded_file: Path) -> None:
    torch.jit.script(nn.Linear(2, 2)).save(str(loaded_file))
    with refusal(ToolError):
        read_checkpoint(loaded_file)
    assert isinstance(read_checkpoint(loaded_file, trust_code=True).program, torch.jit.ScriptModule)
