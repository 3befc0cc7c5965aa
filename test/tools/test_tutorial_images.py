# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Images of what commands print."""

from __future__ import annotations

import sys

from tools.tutorial_images import in_terminal, page_commands


def test_a_command_runs_in_a_terminal_as_wide_as_the_image() -> None:
    code = "import os,sys; print(sys.stdout.isatty(), os.get_terminal_size(1).columns); sys.exit(3)"
    assert in_terminal(f"{sys.executable} -c '{code}'") == (3, "True 80\n")


def test_the_page_begins_with_what_is_installed_and_ends_with_a_walk() -> None:
    commands = list(page_commands())
    assert commands[:2] == ["make setup-torch", ". .venv/bin/activate && . install/setup.bash"]
    assert commands[-1].startswith("python -m examples.demos.walk ")
    assert not [command for command in commands if command.startswith("ros2 ")]
