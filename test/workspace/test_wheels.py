# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The wheels' cmake files name folders of another machine until they are repaired."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest

from tools.setup.wheels import repair_cmake_files


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    (tmp_path / "bin").mkdir()
    # Not a link: that python would look for its packages here.
    python = tmp_path / "bin/python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (tmp_path / "share/std_msgs/cmake").mkdir(parents=True)
    return tmp_path


def write_export(prefix: Path, text: str) -> Path:
    file = prefix / "share/std_msgs/cmake/std_msgsExport.cmake"
    file.write_text(text)
    return file


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("/opt/python/cp312-cp312/include/python3.12", sysconfig.get_path("include")),
        (
            "/opt/python/cp312-cp312/lib/python3.12/site-packages/numpy/_core/include",
            np.get_include(),
        ),
    ],
)
def test_include_folders_of_the_build_machine_become_those_of_this_one(
    prefix: Path, found: str, expected: str
) -> None:
    file = write_export(prefix, f'set(INCLUDES "{found};${{_IMPORT_PREFIX}}/include")')
    assert repair_cmake_files(prefix) == 1
    assert file.read_text() == f'set(INCLUDES "{expected};${{_IMPORT_PREFIX}}/include")'
