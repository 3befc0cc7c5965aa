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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from testkit.pages.blocks import read_blocks
from testkit.pages.options import CommentError, RunOptions, read_comment
from testkit.pages.programs import ROOT, begins_with_program

_FOLDERS = (".github", "bench", "deploy", "docs", "examples", "interfaces", "src", "test", "tools")
_HELP = ("commands/*.py", "arguments.py")
"""Modules whose docstrings `--help` prints, though they do not name `__doc__`."""
_COMMENT_LINE = re.compile(r"^# run:(?P<text>.*)$", re.M)
_REAL_TIME = re.compile(r"\breal_time: *(?:yes|true|on)\b", re.I)
_TARGET = re.compile(r"(?P<comment>(?:^# run:.*\n)*)^(?P<name>[a-z-]+):.*## ", re.M)
_TRAILING_COMMENT = re.compile(r"\s+# .*$", re.M)
_EXAMPLE = re.compile(r"^    (?! )(?:.*\\\n)*.*$", re.M)


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
    options: RunOptions = field(default_factory=RunOptions)

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
    return _REAL_TIME.search(page.read_text("utf-8")) is not None


@cache
def _read_ci_targets() -> tuple[str, ...]:
    targets = re.search(
        r"^TARGETS=\((.*?)\)", (ROOT / ".ci" / "run").read_text("utf-8"), re.M | re.S
    )
    assert targets is not None
    return tuple(targets[1].split())


def find_pages() -> list[Path]:
    """Return all pages, the modules whose `--help` shows commands, and the Makefile."""
    files = [path for folder in _FOLDERS for path in (ROOT / folder).rglob("*.*")]
    pages = [*ROOT.glob("*.md"), *(path for path in files if path.suffix == ".md")]
    modules = [path for path in files if path.suffix == ".py" and not _is_test(path)]
    return sorted([*pages, *filter(_shows_examples, modules), ROOT / "Makefile"])


def _is_test(path: Path) -> bool:
    return "test" in path.relative_to(ROOT).parts


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
    commands = list[PageCommand]()
    for block in read_blocks(path.read_text("utf-8"), str(path)):
        in_block = list(_split(path, block.line, block.section, block.text))
        commands += _with_options(in_block, block.comment, where=f"{path}:{block.line}")
    return commands


def _read_docstring(path: Path) -> list[PageCommand]:
    text = path.read_text("utf-8")
    docstring = _docstring(text)
    first_line = _line_of(text, text.index('"""'))
    commands = [
        command
        for section, example in enumerate(_examples(docstring))
        for command in _split(
            path, first_line + docstring.count("\n", 0, example.start()), section, example[0]
        )
    ]
    comment = "\n".join(line["text"] for line in _COMMENT_LINE.finditer(text))
    return _with_options(commands, comment, where=str(path))


def _examples(docstring: str) -> list[re.Match[str]]:
    return [example for example in _EXAMPLE.finditer(docstring) if begins_with_program(example[0])]


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


def _shows_examples(module: Path) -> bool:
    text = module.read_text("utf-8")
    is_help = "__doc__" in text or any(module.match(pattern) for pattern in _HELP)
    return is_help and bool(_examples(_docstring(text)))


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
    # Of a here-document without its end, bash only warns.
    checked = subprocess.run(["bash", "-n", "-c", text], capture_output=True, check=False)
    return not checked.returncode and not checked.stderr


def _with_options(commands: Sequence[PageCommand], comment: str, where: str) -> list[PageCommand]:
    """Return the commands with the options of their comment."""
    of_all, of_some = read_comment(comment, where)
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
        with_options.append(replace(command, options=RunOptions(**options)))
    return with_options


def _beginning_with(commands: Sequence[PageCommand], begin: str) -> set[int]:
    """Return the lines of the commands that are this text, or else begin with it."""
    exact = {command.line for command in commands if command.text == begin}
    return exact or {
        command.line
        for command in commands
        if re.match(rf"{re.escape(begin)}(?![\w-])", command.text)
    }
