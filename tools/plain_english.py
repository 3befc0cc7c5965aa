# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Finds words that are hard for readers whose second language is English, and long lines.

`python -m tools.plain_english` counts the findings of each area of the checkout and compares them
with `plain_english.json` beside this file: an area may have exactly that many. `--lower` writes the
numbers that have become smaller; none can become larger. With the name of an area, such as `docs`
or `src/model_tools`, it lists the findings there.

A line that needs such a word says why: `plain-english: REASON` in a comment on that line.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

THIS = Path(__file__).resolve()
ROOT = THIS.parent.parent
ALLOWED = THIS.with_suffix(".json")
LONGEST_LINE = 120
"""Characters of a line of Markdown."""
LONG_LINES = "long lines of Markdown"
"""The area of those."""

REMEDIES = {
    "anew": "'again', or the verb: restarts, replaces",
    "farewell": "'shutdown sequence'",
    "good-bye": "'shutdown sequence'",
    "in the place of": "'instead of', 'replaces'",
    "lets go": "'releases'",
    "mend(s|ed|ing)?": "'fix'",
    "nobody": "name the subject: 'no node', 'has no subscriber'",
    "pictures?": "'image'",
    "says of": "'says about', or name what it reports",
    "somebody": "name the person or the program",
    "speaks? against": "'reason to refuse', 'prevents'",
    "strangers?": "'untrusted', 'unknown'",
    "tells|told": "name who reports, prints or says it",
    "what is wanted": "name it",
    "whoever": "name the person or the program",
    "will not do": "name the check that failed",
}
_WORDS = {  # A phrase may go on in the next line of a comment.
    re.compile(rf"\b({phrase})\b".replace(" ", r"\s+(?:(?:#|//|\*)\s*)?"), re.IGNORECASE): remedy
    for phrase, remedy in REMEDIES.items()
}
_WAIVER = re.compile(r"plain-english: \w")
_CODE = re.compile(r"^ *```.*?^ *```|(`+)[^`\n]+\1", re.MULTILINE | re.DOTALL)
_SUFFIXES = {".cpp", ".hpp", ".md", ".msg", ".py", ".rst", ".srv", ".xml", ".yaml"}
_FOLDERS = ("bench", "config", "docs", "examples", "launch", "src", "tools")


class DialectFinding(NamedTuple):
    """A word or a line to rewrite."""

    area: str
    place: str
    """File and line."""
    found: str
    remedy: str

    def __str__(self) -> str:
        """Return the line that is printed."""
        return f"{self.place}: {self.found}: {self.remedy}"


def files(root: Path) -> Iterator[Path]:
    """Yield the texts of a checkout that people read, without tests, which quote the others."""
    yield from sorted(root.glob("*.md"))
    for folder in _FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            parts = path.relative_to(root).parts
            if path.suffix in _SUFFIXES and not {"test", "locks", "__pycache__"} & set(parts):
                yield path


def find(path: Path, root: Path = ROOT) -> Iterator[DialectFinding]:
    """Yield the findings in one file."""
    name = path.relative_to(root)
    text = path.read_text("utf-8")
    if path.suffix == ".md":
        yield from _long_lines(name, text)
    if path.suffix in {".md", ".rst"}:
        text = _CODE.sub(lambda code: re.sub(r"[^\n]", " ", code[0]), text)
    lines = text.split("\n")
    matches = [
        (match, remedy) for pattern, remedy in _WORDS.items() for match in pattern.finditer(text)
    ]
    for match, remedy in sorted(matches, key=lambda one: one[0].start()):
        number = text.count("\n", 0, match.start())
        if not _WAIVER.search(lines[number]):
            found = repr(" ".join(match[0].split()))
            yield DialectFinding(_area(name), f"{name}:{number + 1}", found, f"write {remedy}")


def _long_lines(name: Path, text: str) -> Iterator[DialectFinding]:
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > LONGEST_LINE and not line.startswith("|"):  # rows of tables cannot wrap
            found = f"{len(line)} characters"
            yield DialectFinding(LONG_LINES, f"{name}:{number}", found, f"at most {LONGEST_LINE}")


def _area(name: Path) -> str:
    """Return the part of the checkout that a file counts for."""
    if name.parts[0] == "src":
        return "/".join(name.parts[:2])
    return name.parts[0] if len(name.parts) > 1 else "docs"


def compare(found: list[DialectFinding], allowed: Mapping[str, int]) -> list[str]:
    """Return what is wrong with each area: its findings if there are too many, and their number."""
    problems = []
    for area in sorted({finding.area for finding in found} | set(allowed)):
        here = [finding for finding in found if finding.area == area]
        expected = allowed.get(area, 0)
        if len(here) > expected:
            problems += [str(each) for each in here]
            problems.append(f"{area}: expected {expected} findings, found the {len(here)} above")
        elif len(here) < expected:
            problems.append(
                f"{area}: expected {expected} findings, found {len(here)}; "
                "keep it so: python -m tools.plain_english --lower"
            )
    return problems


def lowered(found: list[DialectFinding], allowed: Mapping[str, int]) -> dict[str, int]:
    """Return the allowed numbers, each lowered to the findings that are left; none grows."""
    left = Counter(finding.area for finding in found)
    return {area: min(left[area], allowed[area]) for area in sorted(allowed) if left[area]}


def main(arguments: list[str] | None = None) -> int:
    """List an area, lower what is allowed, or check the checkout; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.plain_english")
    parser.add_argument("area", nargs="?", help="list the findings of this area, such as docs")
    parser.add_argument("--lower", action="store_true", help="write the numbers that are smaller")
    given = parser.parse_args(arguments)
    allowed = json.loads(ALLOWED.read_text("utf-8"))
    found = [each for path in files(ROOT) if path != THIS for each in find(path)]
    if given.lower:
        allowed = lowered(found, allowed)
        ALLOWED.write_text(json.dumps(allowed, indent=2) + "\n", encoding="utf-8")
    listed = [str(each) for each in found if each.area == given.area]
    problems = listed if given.area is not None else compare(found, allowed)
    sys.stdout.writelines(f"{problem}\n" for problem in problems)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
