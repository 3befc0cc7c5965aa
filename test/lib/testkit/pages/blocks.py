# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Finds the blocks of commands of a Markdown page; refuses others that could hide a command."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from testkit.pages.options import CommentError
from testkit.pages.programs import begins_with_program

SHELLS = ("bash", "sh")
_OTHER_LANGUAGES = ("", "c", "cmake", "cpp", "html", "ini", "python", "xml", "yaml", "{toctree}")
_FENCE = re.compile(r"```|~~~|<pre\b")
_INDENTED = re.compile(r"(?: {4}|\t)\s*(?P<text>\S.*)")
_PROMPT = re.compile(r"\s*\$ ")
_HEADING = re.compile(r"#+ ")
_COMMENT = re.compile(r"<!--\s*run\b", re.I)
_WHOLE_COMMENT = re.compile(r" *<!-- run:(?P<text>.*)-->\s*\Z", re.S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block of commands.

    Attributes:
        line: Its first line on the page.
        section: Number of its section, from 0.
        text: Its lines.
        comment: The YAML of the `run:` comment before it; empty without one.
    """

    line: int
    section: int
    text: str
    comment: str


def read_blocks(text: str, where: str) -> Iterator[Block]:
    """Yield the blocks of commands of a page, in order.

    Args:
        text: The page.
        where: Its path, for messages.

    Raises:
        CommentError: A block is not written as the reader expects, so it might hide commands; or a
            `run:` comment stands before no block.
    """
    lines = enumerate(text.splitlines(), 1)
    section, comment, empty_before = 0, "", True
    for number, line in lines:
        place = f"{where}:{number}"
        if _FENCE.search(line):
            language = _language(line, place)
            inside = list(_lines_of_block(lines, place))
            if language in SHELLS:
                text = "".join(f"{line}\n" for line in inside)
                yield Block(line=number + 1, section=section, text=text, comment=comment)
                comment = ""
            elif not language:
                for line_inside in inside:
                    _refuse_command(line_inside, place)
        elif _COMMENT.search(line):
            comment = _read_comment(line, lines, place)
            continue
        elif _HEADING.match(line):
            section += 1
        elif empty_before and (indented := _INDENTED.match(line)):
            _refuse_command(indented["text"], place)
        empty_before = not line.strip()
        if comment and not empty_before:
            raise CommentError(f"{place}: run: expected a block of commands after the comment")
    if comment:
        raise CommentError(f"{where}: run: expected a block of commands after the last comment")


def _lines_of_block(lines: Iterator[tuple[int, str]], place: str) -> Iterator[str]:
    for _, line in lines:
        if line.strip() == "```":
            return
        if line.lstrip().startswith("```"):
            break
        yield line
    raise CommentError(f"{place}: expected a line ``` that ends the block")


def _read_comment(first: str, lines: Iterator[tuple[int, str]], place: str) -> str:
    """Return the YAML of a comment, which may go on in the next lines."""
    text = first
    while "-->" not in text:
        number_and_line = next(lines, None)
        if number_and_line is None:
            break
        text += f"\n{number_and_line[1]}"
    whole = _WHOLE_COMMENT.match(text)
    if whole is None or not whole["text"].strip():
        raise CommentError(f"{place}: expected `<!-- run: OPTIONS -->`, found {text!r}")
    return whole["text"]


def _language(line: str, place: str) -> str:
    opening = line.lstrip(" ")
    language = opening.removeprefix("```")
    if language == opening or language not in (*SHELLS, *_OTHER_LANGUAGES):
        languages = ", ".join((*SHELLS, *filter(None, _OTHER_LANGUAGES)))
        raise CommentError(f"{place}: expected ``` and one of {languages}, found {line!r}")
    return language


def _refuse_command(line: str, place: str) -> None:
    if begins_with_program(line) or _PROMPT.match(line):
        raise CommentError(f"{place}: expected commands in a block ```bash, found {line!r}")
