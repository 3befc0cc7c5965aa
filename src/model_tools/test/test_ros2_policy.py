# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`ros2 policy`, driven as ros2cli drives a command: a parser of its own below that of `ros2`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.metadata import entry_points

import pytest

from policy_store.ros2_policy import PolicyCommand


def ros2(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser("ros2")
    below = parser.add_subparsers().add_parser(
        "policy", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command = PolicyCommand()
    command.add_arguments(below, "ros2 policy")
    return command.main(parser=parser, args=parser.parse_args(["policy", *words]))


def test_command_is_registered_for_ros2() -> None:
    (found,) = entry_points(group="ros2cli.command", name="policy")
    assert found.load() is PolicyCommand


def test_without_a_verb_all_of_them_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert ros2([]) == 0
    text = capsys.readouterr().out
    for verb in ("self-test", "export lerobot", "fleet status", "inspect"):
        assert f"\n  {verb} " in text


def test_exit_status_is_that_of_the_verb() -> None:
    assert ros2(["inspect", "no_such_bundle"]) == 4
