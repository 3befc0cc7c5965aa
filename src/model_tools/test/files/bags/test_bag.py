# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Recordings are read with inner parts of rosbags, and none is waited for."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path

from model_tools.errors import ToolError
from model_tools.files.bags.bag import Bag
from testkit.wording import refusal

from ...small_bag import imus, write_bag

CHECKED = ("0.11.",)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", imus([0]))
    (file,) = bag.glob("*.mcap")
    file.unlink()
    os.mkfifo(file)
    with refusal(ToolError):
        Bag(bag)


def test_version_of_rosbags_was_checked() -> None:
    found = version("rosbags")
    assert found.startswith(CHECKED), (
        "files/bags/blocks.py uses inner parts of rosbags, which was checked with "
        f"{CHECKED}, and not with {found}: run the tests of bags with it, then add it"
    )
