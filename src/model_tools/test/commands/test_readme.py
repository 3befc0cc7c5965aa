# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The README: a page that is read to its end, and whose commands run."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from ..make.act.small_checkpoints import config_of, write_checkpoint

ROOT = Path(__file__).resolve().parents[4]
README = (ROOT / "README.md").read_text("utf-8")
SOURCED = ". .venv/bin/activate && . install/setup.bash"
"""The first line of a shell; `make test` has run it."""
COVERED = {
    "make demo": "examples.demos.walk",  # test/e2e/test_demo.py
    "make demo-fleet": "examples.demos.fleet",  # test/e2e/test_demo_fleet.py
}
"""Targets that take minutes, and the command that each runs, which has tests of its own."""


def readme_commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    found = [re.sub(r"\s+", " ", line.partition("#")[0]).strip() for line in lines]
    return [line for line in found if line and line != SOURCED]


def run_in_shell(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("target", "program"), COVERED.items())
def test_targets_that_take_minutes_run_a_command_that_is_tested(target: str, program: str) -> None:
    assert target in readme_commands()
    shown = run_in_shell(f"{target.replace('make', 'make --dry-run --silent', 1)}")
    assert shown.returncode == 0, shown.stdout
    assert re.search(rf"\b{program} ", shown.stdout)


@pytest.mark.acceptance
@pytest.mark.ros
def test_every_other_command_runs(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "pretrained_model", config_of())
    for command in readme_commands():
        if command in COVERED:
            continue
        here = re.sub(r"\bout/", f"{tmp_path}/", command)
        here = re.sub(r"\bpretrained_model\b", str(tmp_path / "pretrained_model"), here)
        done = run_in_shell(here)
        assert done.returncode == 0, f"{command}\n{done.stdout}"
    for walk in ("demo-lockstep", "my_walk"):
        assert json.loads((tmp_path / walk / "summary.json").read_text("utf-8"))["falls"] == 0
