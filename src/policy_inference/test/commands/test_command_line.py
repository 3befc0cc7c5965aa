# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What all commands share: the exit status after a signal."""

from __future__ import annotations

import subprocess
import sys

INTERRUPTED = """
import signal, sys
from types import SimpleNamespace
from policy_inference.command_line import run_command

def run(given):
    exec("signal.raise_signal(signal.SIGTERM)")  # as where a dataclass is made

verb = SimpleNamespace(__doc__="Is interrupted.", add_arguments=lambda parser: None, run=run)
sys.exit(run_command("test", "Of a test.", {"wait": verb}, ["wait"]))
"""


def test_a_signal_in_the_middle_of_an_import_gives_its_own_status() -> None:
    ended = subprocess.run([sys.executable, "-c", INTERRUPTED], check=False, capture_output=True)

    assert ended.returncode == 143
    assert b"interrupted" in ended.stderr
