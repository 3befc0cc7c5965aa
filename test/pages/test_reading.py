# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What reads the commands of pages overlooks none, and refuses comments that say nothing."""

from __future__ import annotations

import re

import pytest

from testkit.pages.blocks import read_blocks
from testkit.pages.commands import find_pages, read_commands
from testkit.pages.options import OPTIONS, CommentError, read_comment
from testkit.pages.programs import ROOT

COMMAND = "make test"


@pytest.mark.parametrize(
    "page",
    [
        pytest.param("~~~bash\nmake test\n~~~\n", id="tildes"),
        pytest.param("```console\nmake test\n```\n", id="console"),
        pytest.param("```shell\nmake test\n```\n", id="shell"),
        pytest.param("```\nmake test\n```\n", id="no_language"),
        pytest.param("```\n$ ls\n```\n", id="prompt"),
        pytest.param("```bash title=x\nmake test\n```\n", id="title"),
        pytest.param("```bash \nmake test\n```\n", id="space_after_the_language"),
        pytest.param("```{code-block} bash\nmake test\n```\n", id="directive"),
        pytest.param("````bash\nmake test\n````\n", id="four_backticks"),
        pytest.param("> ```bash\n> make test\n> ```\n", id="quote"),
        pytest.param("- ```bash\n  make test\n  ```\n", id="item"),
        pytest.param("<pre>\nmake test\n</pre>\n", id="html"),
        pytest.param("Run\n\n    make test\n", id="indented"),
        pytest.param("Run\n\n    .venv/bin/python -m bench\n", id="indented_path"),
        pytest.param("```bash\nmake test\n", id="no_end"),
        pytest.param("```bash\nmake test\n```text\n", id="wrong_end"),
    ],
)
def test_a_block_that_could_hide_a_command_is_refused(page: str) -> None:
    with pytest.raises(CommentError):
        list(read_blocks(page, "page.md"))


def test_a_block_in_a_list_and_of_windows_is_read() -> None:
    page = (
        "1. Run\r\n\r\n   <!-- run: {status: 1} -->\r\n\r\n   ```sh\r\n   make test\r\n   ```\r\n"
    )
    (block,) = read_blocks(page, "page.md")
    assert (block.text.strip(), block.comment.strip()) == (COMMAND, "{status: 1}")
    assert block.line == 6


@pytest.mark.parametrize(
    "page",
    [
        pytest.param("<!-- run: {skip: a robot} -->\n\nText.\n\n```bash\nls\n```\n", id="text"),
        pytest.param("<!-- run: {skip: a robot} -->\n\n```yaml\nls: 1\n```\n", id="yaml"),
        pytest.param("<!-- run: {skip: a robot} -->\n", id="end"),
        pytest.param("<!-- run: {skip: a robot}\n\n```bash\nls\n```\n", id="not_closed"),
        pytest.param("<!-- run {skip: a robot} -->\n\n```bash\nls\n```\n", id="no_colon"),
        pytest.param("<!--run: {skip: a robot} -->\n\n```bash\nls\n```\n", id="no_space"),
        pytest.param("<!-- Run: {skip: a robot} -->\n\n```bash\nls\n```\n", id="capital"),
        pytest.param("<!-- run: -->\n\n```bash\nls\n```\n", id="empty"),
    ],
)
def test_a_comment_that_stands_before_no_block_or_is_written_wrong_is_refused(page: str) -> None:
    with pytest.raises(CommentError):
        list(read_blocks(page, "page.md"))


@pytest.mark.parametrize(
    "comment",
    [
        "skip",
        "skip:",
        "skip: ''",
        "skip: yes",
        "skip: .",
        "{make test: {skip: ' '}}",
        "{make test: skip}",
        "{make test: {skipp: a robot}}",
        "needs: [rknn]",
        "needs: ''",
        "status: '1'",
        "status: yes",
        "status: 127",
        "limit_s: long",
        "real_time: 1",
        "swap: make",
        "short: '|| true'",
        "short: '# '",
        "{needs: rknn",
    ],
)
def test_a_comment_with_a_wrong_option_or_value_is_refused(comment: str) -> None:
    with pytest.raises(CommentError):
        read_comment(comment, "page.md:1")


def test_every_page_and_the_help_of_installed_programs_is_found() -> None:
    found = {str(page.relative_to(ROOT)) for page in find_pages()}
    assert {
        "README.md",
        "interfaces/README.md",
        "examples/my_robot/README.md",
        "src/robot_sim/robot_sim/urdf.py",
        "src/model_tools/model_tools/commands/sign.py",
    } <= found


def test_examples_of_every_program_are_read_from_help() -> None:
    sign = ROOT / "src/model_tools/model_tools/commands/sign.py"
    assert [command.text.split()[0] for command in read_commands(sign)] == [
        "openssl",
        "openssl",
        "model_tools",
    ]


def test_contributing_explains_each_option() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    (table,) = re.findall(r"^\| option \| meaning \|\n.*\n((?:\|.*\n)+)", text, re.M)
    names = [
        name
        for row in table.splitlines()
        for name in re.findall(r"`(\w+)`", row[: row.index(" | ")])
    ]
    assert sorted(names) == sorted(OPTIONS)
