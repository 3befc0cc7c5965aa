# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The inner part of rosbags that `blocks` and `limits` use: it may change with any version."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

CHECKED = ("0.11.",)


def test_version_of_rosbags_was_checked() -> None:
    found = version("rosbags")
    assert found.startswith(CHECKED), (
        "files/bags/blocks.py and limits.py use inner parts of rosbags, which was checked with "
        f"{CHECKED}, and not with {found}: run the tests of bags with it, then add it"
    )


def test_no_other_modules_use_what_is_inside() -> None:
    sources = Path(__file__).resolve().parents[4]
    modules = {
        file.name
        for file in sources.rglob("*.py")
        if re.search(r"rosbags\.rosbag2\.(reader|storage)", file.read_text("utf-8"))
    }
    assert modules - {Path(__file__).name} == {"blocks.py", "limits.py"}
