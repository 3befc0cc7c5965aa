# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of each kind, made once and copied; their weights are links to be replaced."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from . import words
from .exports import written_checkpoint_of

CopyCheckpoint = Callable[[str], Path]


@pytest.fixture(scope="module", autouse=True)
def tokenizers() -> Iterator[None]:
    """Need no package that only makes tokens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "tokenizers", words)
        yield


@pytest.fixture(scope="session")
def made_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The checkpoints so far, to be filled on demand."""
    return {"": tmp_path_factory.mktemp("checkpoints")}


def _linked(source: str, copy: str) -> None:
    if source.endswith(".safetensors"):
        os.link(source, copy)
    else:
        shutil.copy2(source, copy)


@pytest.fixture
def checkpoint_like(made_checkpoints: dict[str, Path], tmp_path: Path) -> CopyCheckpoint:
    """Copy the checkpoint of a kind, to be spoilt."""

    def copy(kind: str) -> Path:
        if kind not in made_checkpoints:
            made_checkpoints[kind] = written_checkpoint_of(kind, made_checkpoints[""] / kind)
        return Path(
            shutil.copytree(made_checkpoints[kind], tmp_path / "checkpoint", copy_function=_linked)
        )

    return copy
