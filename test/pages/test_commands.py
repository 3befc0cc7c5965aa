# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Each command that a page, `make help` or a `--help` text shows works as it stands there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from testkit.pages.commands import ROOT, find_pages, goes_by_the_clock, read_commands
from testkit.pages.needs import NEEDS
from testkit.pages.running import run_page

RESULTS = ROOT / "out" / "commands"
LARGEST_SKIPPED_SHARE = 0.1
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
    commands = [command for page in find_pages() for command in read_commands(page)]
    skipped = [command for command in commands if command.options.skip]
    assert len(skipped) <= LARGEST_SKIPPED_SHARE * len(commands)
    assert all(command.to_run() for command in commands)
    needs = {need for command in commands for need in command.options.needs.split(",") if need}
    assert needs <= {*NEEDS}
