# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The files of a checkpoint are read once, before an export begins."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from model_tools.make.act.act_export import export_checkpoint
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from testkit.opened_files import counted_opens

from .conftest import CopyCheckpoint
from .exports import CONFIGS, ask
from .small_checkpoints import config_of, write_checkpoint


@pytest.mark.parametrize("kind", [*CONFIGS, "statistics inside the weights"])
def test_each_file_is_read_once_and_none_during_the_export(
    checkpoint_like: CopyCheckpoint, tmp_path: Path, kind: str
) -> None:
    if kind in CONFIGS:
        folder = checkpoint_like(kind)
    else:
        folder = write_checkpoint(tmp_path / "checkpoint", config_of(), is_old=True)
    files = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}

    with counted_opens(folder) as opened:
        request = ask(folder)
    shutil.rmtree(folder)
    export_checkpoint(request)

    assert opened == dict.fromkeys(files, 1)
    assert load_bundle(request.output, kind=ChunkBundle).contract.kind == "chunk"
