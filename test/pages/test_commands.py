# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Each command that a page, `make help` or a `--help` text shows works as it stands there."""

from __future__ import annotations

import json
import os
import re
from functools import cache
from pathlib import Path

import pytest

from testkit.pages.commands import PageCommand, find_pages, goes_by_the_clock, read_commands
from testkit.pages.needs import NEEDS
from testkit.pages.programs import ROOT
from testkit.pages.running import run_page

RESULTS = ROOT / "out" / "commands"
LARGEST_SKIPPED_SHARE = 0.1
LARGEST_SHARE_WITH_ROS = 0.15
"""Of commands that need `ros2`, which CI lacks since there are no wheels of `ros2 launch`."""
ONLY_NAMED = {"--dry-run", "--help", "--version"}
"""Options with which a command does nothing that the page says."""
PAGES = [
    pytest.param(
        page,
        id=str(page.relative_to(ROOT)),
        marks=[pytest.mark.real_time] if goes_by_the_clock(page) else [],
    )
    for page in find_pages()
]


@pytest.mark.ros
@pytest.mark.pages
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", PAGES)
def test_commands_of_a_page_work(page: Path, tmp_path: Path) -> None:
    results = run_page(read_commands(page), tmp_path)
    RESULTS.mkdir(parents=True, exist_ok=True)
    file = RESULTS / f"{page.relative_to(ROOT)}.json".replace("/", ".")
    file.write_text(json.dumps([result.to_json() for result in results], indent=1) + "\n", "utf-8")
    required = {*os.environ.get("REQUIRED_NEEDS", "").split(",")}
    failed = [
        result
        for result in results
        if result.result == "failed"
        or (result.result == "missing" and required & {*result.detail.split(", ")})
    ]
    assert not failed, "\n\n".join(
        f"{result.page}:{result.line}: {result.ran}\n{result.detail}" for result in failed
    )


def test_few_commands_are_skipped_and_what_others_need_is_known() -> None:
    commands = read_all_commands()
    needs = {need for command in commands for need in needs_of(command)}
    assert needs <= {*NEEDS}
    in_ci = read_needs_of_ci() | {"ros2"}
    skipped = [command for command in commands if is_skipped(command) or needs_of(command) - in_ci]
    assert len(skipped) <= LARGEST_SKIPPED_SHARE * len(commands)
    with_ros = [command for command in commands if "ros2" in needs_of(command)]
    assert len(with_ros) <= LARGEST_SHARE_WITH_ROS * len(commands)


@cache
def read_all_commands() -> list[PageCommand]:
    return [command for page in find_pages() for command in read_commands(page)]


def needs_of(command: PageCommand) -> set[str]:
    return {*filter(None, command.options.needs.split(","))}


def is_skipped(command: PageCommand) -> bool:
    """Return True if the command does not run, or only with an option that stops it."""
    runs, shows = {*command.to_run().split()}, {*command.text.split()}
    return bool(command.options.skip or (runs - shows) & ONLY_NAMED)


def read_needs_of_ci() -> set[str]:
    (needs,) = re.findall(r'REQUIRED_NEEDS="(.*)"', (ROOT / ".ci" / "run").read_text("utf-8"))
    return {*needs.split(",")}


def test_variables_that_make_is_given_exist() -> None:
    texts = [command.to_run() for command in read_all_commands()]
    shown = [after for text in texts for after in re.findall(r"\bmake (.*)", text)]
    makefile = (ROOT / "Makefile").read_text("utf-8")
    listed = re.findall(r":.*## .*\((.*)\)$", makefile, re.M)
    named = {name for text in (*shown, *listed) for name in re.findall(r"\b([A-Z_]+)=", text)}
    # Python reads ROS_DISTRO.
    assert named <= {*read_variables(makefile), "ROS_DISTRO"}


def read_variables(makefile: str) -> set[str]:
    """Return the variables that a Makefile uses, as `$(NAME)` or in `$(function NAME`."""
    recipes = re.sub(r"##.*", "", makefile)
    return {*re.findall(r"\$\((?:\w+ )?([A-Z_]+)\b", recipes)}


def test_a_variable_that_no_recipe_uses_is_unknown() -> None:
    makefile = "demo:  ## Walk (SECOND=5)\n\tpython demo $(if $(SECONDS),--seconds $(SECONDS))\n"
    assert read_variables(makefile) == {"SECONDS"}
