# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What comes after `model_tools export act`: the commands that it prints, and other compilers."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from model_tools.cli import main
from model_tools.make.act.graphs import POLICY, VISION
from policy_core.bundle.chunk_bundle import ChunkBundle
from policy_core.bundle.load import load_bundle
from testkit.wording import check_wording, lines_with

from ..files.lerobot.small_dataset import HEIGHT, WIDTH, write_dataset
from ..make.act.exports import small_arm
from ..make.act.small_checkpoints import config_of, write_checkpoint


@pytest.fixture
def asked(tmp_path: Path) -> list[str]:
    """Return the words that export a small policy."""
    config = config_of(
        cameras={"laptop": (HEIGHT, WIDTH), "phone": (HEIGHT, WIDTH)}, state=3, action=3
    )
    checkpoint = write_checkpoint(tmp_path / "checkpoint", config)
    return (
        f"export act --act-path {checkpoint} --export-path {tmp_path / 'arm'} "
        f"--units degrees --robot {small_arm(tmp_path)} "
        f"--dataset {write_dataset(tmp_path / 'data')}"
    ).split()


@pytest.mark.slow
def test_the_command_it_prints_takes_what_the_container_made(
    asked: list[str],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("INFO")
    assert main([*asked, "--type", "nash-e"]) == 0
    check_wording(*lines_with(caplog.messages, "observations"))
    (printed,) = (line for line in capsys.readouterr().out.splitlines() if "compile bpu" in line)
    for graph in (VISION, POLICY):
        (tmp_path / "arm/bpu_output" / f"{graph}.hbm").write_bytes(b"\0compiled elsewhere")

    program, *words = shlex.split(printed)

    assert program == "model_tools"
    assert main(words) == 0
    made = load_bundle(tmp_path / "arm_nash-e", kind=ChunkBundle).contract
    assert made.graphs[POLICY].artifacts["bpu"].target == "nash-e"


def test_images_of_another_size_are_stretched_where_that_is_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = config_of(cameras={"laptop": (HEIGHT // 2, WIDTH)}, state=3, action=3)
    words = (
        "export act "
        f"--act-path {write_checkpoint(tmp_path / 'checkpoint', config)} "
        f"--export-path {tmp_path / 'arm'} --units degrees "
        f"--robot {small_arm(tmp_path)} "
        f"--dataset {write_dataset(tmp_path / 'data')}"
    ).split()

    assert main(words) == 4
    check_wording(caplog.messages[-1])
    assert main([*words, "--resize"]) == 0

    bundle = load_bundle(tmp_path / "arm", kind=ChunkBundle)
    assert bundle.contract.cameras["laptop"].resize
    assert bundle.golden()["cameras.laptop"].shape[1:3] == (HEIGHT // 2, WIDTH)
