# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Reads the commands that pages, `make help` and `--help` show, and how to run them.

A command runs as it stands, unless a comment says what differs. The comment is YAML. On a page it
stands before a block of commands, `<!-- run: ... -->`; in a Python module or the Makefile, its
lines begin with `# run:`. Keys are options, which apply to the whole block, or beginnings of
commands with options of their own:

    <!-- run:
    needs: rknn
    before: cp -r config/bundles/lite3_walk my_bundle
    make test: {short: 'PYTEST_ARGS="-k guard"'}
    ssh robot: {skip: a robot}
    -->
"""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[4]

_PAGES = (
    "*.md",
    "docs/*.md",
    "src/*/README.md",
    "Makefile",
    "src/*/*/commands/*.py",
    "src/*/*/nodes/*.py",
    "src/*/*/arguments.py",
    "examples/demos/**/*.py",
    "tools/**/*.py",
    "bench/__main__.py",
)
"""Pages, and modules whose docstrings `--help` prints."""
_SHELLS = ("bash", "sh")
_BLOCK = re.compile(r"^ *```(?P<language>\w*)\n(?P<text>.*?)^ *```", re.M | re.S)
_COMMENT_BEFORE = re.compile(r"<!-- run:(?P<text>(?:(?!-->).)*)-->\s*\Z", re.S)
_COMMENT_LINE = re.compile(r"^# run:(?P<text>.*)$", re.M)
_HEADING = re.compile(r"^#+ ", re.M)
_TARGET = re.compile(r"(?P<comment>(?:^# run:.*\n)*)^(?P<name>[a-z-]+):.*## ", re.M)
_TRAILING_COMMENT = re.compile(r"\s+# .*$", re.M)
_EXAMPLE = re.compile(
    r"^    (?:make|python|ros2|model_tools|policy_store|policy_inference|robot_operator|"
    r"lerobot_bridge) (?:.*\\\n)*.*",
    re.M,
)


class CommentError(Exception):
    """A `run:` comment is wrong; the message says where, and what was expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a command runs, where it does not run as it stands.

    Attributes:
        needs: What must be there, with commas between (`testkit.pages.needs.NEEDS`).
        before: Commands that run first, and prepare what the page takes for granted.
        after: Commands that run next, and check the result.
        short: Further arguments, which make the command short.
        swap: Parts of the command by what stands for them here.
        ready: Regular expression. The command runs until the end of its section; its output shows
            within the time limit that it works.
        status: Expected exit status; with `ready`, one more that is right after Ctrl-C.
        limit_s: Time limit, s.
        real_time: Whether the command goes by the clock; its page then needs the machine alone.
        skip: Why nothing runs the command: hardware, a ROS installation, a service manager.
    """

    needs: str = ""
    before: str = ""
    after: str = ""
    short: str = ""
    swap: Mapping[str, str] | None = None
    ready: str = ""
    status: int = 0
    limit_s: float = 300.0
    real_time: bool = False
    skip: str = ""


OPTIONS = frozenset(option.name for option in fields(RunOptions))


@dataclass(frozen=True, slots=True, kw_only=True)
class PageCommand:
    """A command of a page.

    Attributes:
        page: Path of the page in the checkout.
        line: Line of the page.
        section: Number of the section on the page, from 0.
        text: The command as a user copies it.
        options: How tests run it.
    """

    page: str
    line: int
    section: int
    text: str
    options: RunOptions = RunOptions()

    def is_made_by_ci(self) -> bool:
        """Return True for a target that `.ci/run` makes as it stands."""
        return self.text in {f"make {target}" for target in _read_ci_targets()}

    def to_run(self) -> str:
        """Return the command with its replacements, and with the arguments that make it short."""
        text = self.text
        for old, new in (self.options.swap or {}).items():
            if old not in text:
                raise CommentError(f"{self.page}:{self.line}: swap: expected {old!r} in {text!r}")
            text = text.replace(old, new)
        return f"{text} {self.options.short}".strip()


def goes_by_the_clock(page: Path) -> bool:
    """Return True if a command of the page needs the machine alone."""
    return "real_time: yes" in page.read_text("utf-8")


@cache
def _read_ci_targets() -> tuple[str, ...]:
    targets = re.search(
        r"^TARGETS=\((.*?)\)", (ROOT / ".ci" / "run").read_text("utf-8"), re.M | re.S
    )
    assert targets is not None
    return tuple(targets[1].split())


def find_pages() -> list[Path]:
    """Return the pages and modules that show commands, and the Makefile."""
    pages = sorted(path for pattern in _PAGES for path in ROOT.glob(pattern))
    return [path for path in pages if _shows_commands(path)]


def read_commands(path: Path) -> list[PageCommand]:
    """Return the commands of a page, in order.

    Args:
        path: A Markdown page, a module whose docstring `--help` prints, or the Makefile.

    Raises:
        CommentError: A `run:` comment is wrong.
    """
    if path.suffix == ".md":
        return _read_markdown(path)
    return _read_docstring(path) if path.suffix == ".py" else _read_makefile(path)


def _read_markdown(path: Path) -> list[PageCommand]:
    text = path.read_text("utf-8")
    commands = list[PageCommand]()
    for block in _BLOCK.finditer(text):
        if block["language"] not in _SHELLS:
            continue
        text_before = text[: block.start()]
        section = len(_HEADING.findall(_BLOCK.sub("", text_before)))
        comment = _COMMENT_BEFORE.search(text_before)
        commands += _with_options(
            list(_split(path, _line_of(text, block.start("text")), section, block["text"])),
            comment["text"] if comment else "",
            where=f"{path}:{_line_of(text, block.start())}",
        )
    return commands


def _read_docstring(path: Path) -> list[PageCommand]:
    text = path.read_text("utf-8")
    docstring = _docstring(text)
    first_line = _line_of(text, text.index('"""'))
    commands = [
        command
        for section, example in enumerate(_EXAMPLE.finditer(docstring))
        for command in _split(
            path, first_line + docstring.count("\n", 0, example.start()), section, example[0]
        )
    ]
    comment = "\n".join(line["text"] for line in _COMMENT_LINE.finditer(text))
    return _with_options(commands, comment, where=str(path))


def _docstring(text: str) -> str:
    """Return a module's docstring as Python and `--help` see it."""
    return ast.get_docstring(ast.parse(text), clean=False) or ""


def _read_makefile(path: Path) -> list[PageCommand]:
    """Return a command for each target that `make help` lists."""
    text = path.read_text("utf-8")
    commands = list[PageCommand]()
    for target in _TARGET.finditer(text):
        comment = "\n".join(line["text"] for line in _COMMENT_LINE.finditer(target["comment"]))
        line = _line_of(text, target.start("name"))
        command = next(_split(path, line, len(commands), f"make {target['name']}\n"))
        commands += _with_options([command], comment, where=f"{path}:{line}")
    return commands


def _shows_commands(path: Path) -> bool:
    text = path.read_text("utf-8")
    if path.suffix == ".md":
        return any(block["language"] in _SHELLS for block in _BLOCK.finditer(text))
    if path.suffix == ".py":
        return _EXAMPLE.search(_docstring(text)) is not None
    return True


def _line_of(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _split(path: Path, first_line: int, section: int, block: str) -> Iterator[PageCommand]:
    """Split a block into commands; each ends with the first line that completes it."""
    pending = list[str]()
    for number, line in enumerate(block.splitlines(), first_line):
        if not pending and (not line.strip() or line.lstrip().startswith("#")):
            continue
        pending.append(line)
        text = "\n".join(pending)
        if line.rstrip().endswith("\\") or not _is_complete(text):
            continue
        yield PageCommand(
            page=str(path.relative_to(ROOT)),
            line=number + 1 - len(pending),
            section=section,
            text=_TRAILING_COMMENT.sub("", text).strip(),
        )
        pending.clear()
    if pending:
        raise CommentError(f"{path}:{first_line}: expected whole commands, found {pending[0]!r}")


def _is_complete(text: str) -> bool:
    return not subprocess.run(
        ["bash", "-n", "-c", text], capture_output=True, check=False
    ).returncode


def _with_options(commands: Sequence[PageCommand], comment: str, where: str) -> list[PageCommand]:
    """Return the commands with the options of their comment."""
    parsed: Any = yaml.safe_load(comment) or {}
    if not isinstance(parsed, dict):
        raise CommentError(f"{where}: run: expected options by name, found {comment.strip()!r}")
    of_all = {name: value for name, value in parsed.items() if name in OPTIONS}
    of_some = {begin: options for begin, options in parsed.items() if begin not in OPTIONS}
    chosen = {begin: _beginning_with(commands, begin) for begin in of_some}
    for begin, lines in chosen.items():
        if not lines:
            raise CommentError(f"{where}: run: expected an option or a command, found {begin!r}")
    with_options = list[PageCommand]()
    for number, command in enumerate(commands):
        # What prepares a block runs once.
        options = {k: v for k, v in of_all.items() if k != "before" or number == 0}
        for begin, lines in chosen.items():
            if command.line in lines:
                options.update(of_some[begin])
        try:
            with_options.append(replace(command, options=RunOptions(**options)))
        except TypeError as error:
            raise CommentError(f"{where}: run: {error}") from None
    return with_options


def _beginning_with(commands: Sequence[PageCommand], begin: str) -> set[int]:
    """Return the lines of the commands that are this text, or else begin with it."""
    exact = {command.line for command in commands if command.text == begin}
    return exact or {
        command.line
        for command in commands
        if re.match(rf"{re.escape(begin)}(?![\w-])", command.text)
    }
