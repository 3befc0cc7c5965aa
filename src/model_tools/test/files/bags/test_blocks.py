# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The inner part of rosbags that `blocks` and `limits` use: it may change with any version."""

from __future__ import annotations

from importlib.metadata import version

CHECKED = ("0.11.",)


def test_version_of_rosbags_was_checked() -> None:
    found = version("rosbags")
    assert found.startswith(CHECKED), (
        "files/bags/blocks.py and limits.py use inner parts of rosbags, which was checked with "
        f"{CHECKED}, and not with {found}: run the tests of bags with it, then add it"
    )
