# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`make`: each variable that its help offers is accepted, and what it refuses takes one line."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

import pytest

import bench.__main__
import examples.demos.act
import examples.demos.fleet.__main__
import examples.demos.policy_set
import examples.demos.stairs
import examples.demos.walk
from testkit.known_codes import main as show_codes
from tools.train_walk.definition import load_training

ROOT = Path(__file__).resolve().parents[2]
PARSERS: dict[str, Callable[[Sequence[str]], argparse.Namespace]] = {
    "bench": bench.__main__.parse,
    "examples.demos.act": examples.demos.act.parse,
    "examples.demos.fleet": examples.demos.fleet.__main__.parse,
    "examples.demos.policy_set": examples.demos.policy_set.parse,
    "examples.demos.stairs": examples.demos.stairs.parse,
    "examples.demos.walk": examples.demos.walk.parse,
}
EXAMPLES = {"n": "2", "dir": "my_bundle", "name": "onnx", "...": "rknn.core_mask=0_1"}
"""Values for the placeholders of the help."""


def run_make(*words: str) -> subprocess.CompletedProcess[str]:
    """Print what `make` would run, without running it."""
    command = ["make", "--no-print-directory", "--dry-run", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def offered_variables(target: str) -> Iterator[list[str]]:
    """Yield sets of variables that the help of a target offers together.

    In parentheses, it has groups such as `ROBOT=lite3|go2 BUNDLE=dir; ROBOT=g1 BUNDLE=dir`. Each
    alternative is part of a set.
    """
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    (groups,) = re.findall(rf"^make {target} .*\((.*)\)$", shown.stdout, re.M)
    for group in groups.split("; "):
        variables = dict(word.split("=", 1) for word in group.split(" ") if word[:1].isupper())
        alternatives = [
            [f"{name}={EXAMPLES.get(value, value)}" for value in values.rstrip(":").split("|")]
            for name, values in variables.items()
        ]
        yield from (
            [choice or first[0] for choice, first in zip(row, alternatives, strict=True)]
            for row in zip_longest(*alternatives)
        )


def parse_command(printed: str) -> argparse.Namespace:
    """Parse the arguments of the Python command that `make` would run last."""
    words = shlex.split(printed.strip().splitlines()[-1])
    at = words.index("-m")
    return PARSERS[words[at + 1]](words[at + 2 :])


@pytest.mark.parametrize("target", ["demo-act", "demo-set", "demo-fleet", "bench"])
def test_all_variables_that_the_help_offers_are_accepted(target: str) -> None:
    for variables in offered_variables(target):
        parse_command(run_make(target, *variables).stdout)


def test_the_demo_accepts_every_robot_and_task_that_the_help_offers() -> None:
    offered = [*offered_variables("demo")]
    robots = {word for variables in offered for word in variables if word.startswith("ROBOT=")}
    assert robots == {"ROBOT=lite3", "ROBOT=go2", "ROBOT=go2_emulator", "ROBOT=g1"}
    assert ["TASK=stairs"] in offered
    for variables in offered:
        parse_command(run_make("demo", *variables).stdout)


@pytest.mark.parametrize(
    "variables",
    [
        ["ROBOT=g1"],
        ["ROBOT=spot"],
        ["TASK=stairs", "ROBOT=go2"],
        ["ROBOT=go2_emulator", "LOCKSTEP=yes"],
    ],
    ids=" ".join,
)
def test_the_demo_refuses_what_does_not_exist_in_one_line(
    variables: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse_command(run_make("demo", *variables).stdout)
    (line,) = re.findall(r"^python -m .*: error: (.*)$", capsys.readouterr().err, re.M)
    assert re.search(r"expected .*, found ", line)


@pytest.mark.parametrize("variables", [["TASK=runner"], ["TASK=stairs", "SECONDS=5"]], ids=" ".join)
def test_make_refuses_variables_without_meaning_in_one_line(variables: list[str]) -> None:
    done = run_make("demo", *variables)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert re.search(r"(TASK|SECONDS): expected .*, found ", line)


def test_every_robot_that_the_help_of_training_offers_can_learn_its_task() -> None:
    offered = [dict(word.split("=", 1) for word in each) for each in offered_variables("train")]
    assert {each["TASK"] for each in offered if "TASK" in each} == {"stairs", "bow"}
    for each in offered:
        load_training(each["ROBOT"], each.get("TASK", "walk"))


def test_codes_without_a_file_name_the_command_that_writes_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show_codes(tmp_path / "codes.json") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"make test-all CODES={tmp_path}/codes.json" in line
