# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A test that ends its process: the others still run, and it runs again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TESTS = """
import os, pathlib, signal, pytest

@pytest.mark.parametrize("n", range(4))
def test_it(n):
    crashed = pathlib.Path(__file__).with_name("crashed")
    if {number} == 4 and n == 2 and not crashed.exists():
        crashed.touch()
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_crashed_worker_keeps_no_test_from_running(tmp_path: Path) -> None:
    shutil.copy(ROOT / "conftest.py", tmp_path)
    for number in range(8):
        (tmp_path / f"test_{number}.py").write_text(TESTS.format(number=number))
    lib = os.pathsep.join([str(ROOT / "test/lib"), os.environ.get("PYTHONPATH", "")])
    words = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", "--reruns", "1", "-q"]
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *words, str(tmp_path)],
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": lib},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert (tmp_path / "crashed").exists()
