# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`examples/backend`: a package outside of this repository, as a user copies it."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[4] / "examples" / "backend"


@pytest.mark.acceptance
def test_the_example_installs_and_passes_the_conformance_suite(tmp_path: Path) -> None:
    site, folder = tmp_path / "site", tmp_path / "package"
    shutil.copytree(EXAMPLE, folder)
    pip = "pip install --quiet --no-deps --no-index --no-build-isolation --target"
    _run_module(folder, *pip.split(), str(site), ".")
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    words = "pytest -q -p no:cacheprovider test_conformance.py"
    said = _run_module(folder, *words.split(), PYTHONPATH=path)
    passed = re.search(r"(\d+) passed", said)
    assert passed is not None, said
    assert int(passed[1]) > 30


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
