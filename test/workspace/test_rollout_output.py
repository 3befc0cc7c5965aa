# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`rollout` shows what robots say, and does not let it command the operator's terminal."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROLLOUT = Path(__file__).parents[2] / "deploy/ansible/rollout"
HOSTILE = "\x1b]52;c;cm0gLXJm\x07\x1b[2J\rrollout: tiny 1.1.0 runs on all of wave\x9b0m"
"""Writes the clipboard, clears the screen, forges the line of success."""
INVENTORY = """\
echo "@all:"; echo "  |--@wave:"
"""
PLAYBOOK = """\
for word in "$@"; do
  case $word in policy_failed=*) failed=${word#*=} ;; policy_taken=*) taken=${word#*=} ;; esac
done
case "$*" in *policy_action=apply*) touch "$taken/r1" ;; esac
printf "%s" "$HOSTILE" >"$failed/r1"
echo "out $HOSTILE"
echo "err $HOSTILE" >&2
case "$*" in *policy_action=check*) exit $CHECK_STATUS ;; esac
exit 2
"""


@pytest.mark.parametrize(("check_status", "status"), [(0, 3), (2, 2)])
def test_texts_of_robots_are_shown_as_escapes(
    tmp_path: Path, check_status: int, status: int
) -> None:
    commands = {"ansible-inventory": INVENTORY, "ansible-playbook": PLAYBOOK, "model_tools": ""}
    for name, text in commands.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{text}")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "robots.yml").write_text("")

    done = subprocess.run(
        [ROLLOUT, "-i", "robots.yml", "-n", "tiny", "-v", "1.1.0", "wave"],
        cwd=tmp_path,
        env=os.environ
        | {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "HOSTILE": HOSTILE,
            "CHECK_STATUS": str(check_status),
        },
        capture_output=True,
        text=True,
    )

    assert done.returncode == status, done.stderr
    for stream in (done.stdout, done.stderr):
        assert all(line.isprintable() for line in stream.split("\n")), stream
    if status == 2:
        assert "\\x1b]52" in done.stderr
    else:
        assert "out \\x1b]52" in done.stdout
        assert "err \\x1b]52" in done.stderr
        last = done.stderr.rstrip("\n").split("\n")[-1]
        assert last.startswith("rollout: stopped")
