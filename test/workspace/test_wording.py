# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The wording of messages is compared with one file per package, and that file has no leftovers."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from testkit.wording import FILE, ROOT

TESTS = """
from testkit.wording import check_wording, refusal

def test_of_a_robot():
    with refusal(ValueError):
        raise ValueError("the robot {robot}")

def test_of_legs():
    for leg in {legs}:
        check_wording(f"the leg {{leg}}")

def test_of_a_clock(tmp_path):
    check_wording(f"{{tmp_path}}/file: waited {seconds} s, {joints} joints")
"""


@pytest.mark.parametrize("file", [*ROOT.glob(f"src/*/test/{FILE}"), ROOT / "test" / FILE], ids=str)
def test_wording_is_that_of_tests_which_exist(file: Path) -> None:
    content = yaml.safe_load(file.read_text("utf-8")) if file.is_file() else {}
    gone = []
    for path, tests in content.items():
        text = (file.parent / path).read_text("utf-8") if (file.parent / path).is_file() else ""
        nodes = ast.walk(ast.parse(text))
        known = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
        names = {test: test.partition("[")[0].rpartition("::")[2] for test in tests}
        gone += [f"{path}::{test}" for test, name in names.items() if name not in known]
    assert not gone


def run_tests(folder: Path, *options: str, **words: object) -> set[str]:
    """Write the tests with these words and run them; return those that fail."""
    tests = folder / "test"
    tests.mkdir(exist_ok=True)
    values = {"robot": "walks", "legs": ("swings", "stands"), "seconds": 1, "joints": 12, **words}
    (tests / "test_messages.py").write_text(TESTS.format(**values))
    plugins = ("-p", "testkit.wording", "-p", "no:cacheprovider")
    places = ("-c", "/dev/null", "--rootdir", str(folder), str(tests))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, *places, "-rfE", *options],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT / "test" / "lib"),
            "PYTEST_ADDOPTS": "",
            "CI": "",
        },
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    lines = [line.split("::")[1] for line in done.stdout.splitlines() if line.startswith("FAILED")]
    return {line.split(" ")[0] for line in lines}


@pytest.mark.slow
def test_other_words_fail_the_test_that_hears_them_until_they_are_written(tmp_path: Path) -> None:
    assert run_tests(tmp_path) == {"test_of_a_robot", "test_of_legs", "test_of_a_clock"}
    assert run_tests(tmp_path, "--write-wording") == set()
    assert run_tests(tmp_path) == set()
    assert run_tests(tmp_path, robot="falls") == {"test_of_a_robot"}
    assert run_tests(tmp_path, "--write-wording", robot="falls") == set()
    assert run_tests(tmp_path, robot="falls") == set()
