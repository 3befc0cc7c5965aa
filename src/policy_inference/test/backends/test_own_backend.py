# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The back end of docs/backends.md: a package outside of this repository, as a user copies it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).resolve().parents[4] / "docs" / "backends.md"
FILE = re.compile(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```", re.DOTALL | re.MULTILINE)


@pytest.mark.acceptance
def test_package_of_the_guide_installs_and_passes_the_conformance_suite(tmp_path: Path) -> None:
    site, folder = tmp_path / "site", tmp_path / "package"
    folder.mkdir()
    guide = DOCUMENT.read_text("utf-8").partition("## A back end of your own")[2]
    for name, content in FILE.findall(guide):
        (folder / name).write_text(content, "utf-8")
    _run_module(
        folder,
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--no-build-isolation",
        "--target",
        str(site),
        ".",
    )
    said = _run_module(
        folder,
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "test_conformance.py",
        PYTHONPATH=os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]),
    )
    passed = re.search(r"(\d+) passed", said)
    assert passed is not None, said
    assert int(passed[1]) > 40


def _run_module(folder: Path, *module: str, **variables: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *module],
        cwd=folder,
        text=True,
        check=False,
        env=os.environ | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
