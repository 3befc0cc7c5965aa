# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Finds long lines, and words that are hard for readers whose second language is English.

`python -m tools.plain_english` lists them; the exit status is 1 if there are any. A line that needs
such a word gives the reason: `plain-english: REASON` in a comment on that line.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.arguments import refuse_arguments

THIS = Path(__file__).resolve()
ROOT = THIS.parent.parent
LONGEST_LINE = 120
"""Maximum length of a line of Markdown, in characters."""

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
_WORDS = {  # A phrase may continue in the next line of a comment.
    re.compile(rf"\b({phrase})\b".replace(" ", r"\s+(?:(?:#|//|\*)\s*)?"), re.IGNORECASE): remedy
    for phrase, remedy in REMEDIES.items()
}
_WAIVER = re.compile(r"plain-english: \w")
_CODE = re.compile(r"^ *```.*?^ *```|(`+)[^`\n]+\1", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_SUFFIXES = {".cpp", ".hpp", ".md", ".msg", ".py", ".rst", ".srv", ".xml", ".yaml"}
_FOLDERS = ("bench", "config", "docs", "examples", "launch", "src", "tools")


def files(root: Path) -> Iterator[Path]:
    """Yield the files of a checkout that people read, except tests, which quote other files."""
    yield from sorted(root.glob("*.md"))
    for folder in _FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            parts = path.relative_to(root).parts
            if path.suffix in _SUFFIXES and not {"test", "locks", "__pycache__"} & set(parts):
                yield path


def find(path: Path) -> Iterator[str]:
    """Yield the findings in one file: line, words, remedy."""
    name, text = path.relative_to(ROOT), path.read_text("utf-8")
    lines = text.split("\n")
    if path.suffix == ".md":
        # Comments hold commands, which may have no place to break.
        text = _COMMENT.sub(lambda comment: "\n" * comment[0].count("\n"), text)
        for number, line in enumerate(text.split("\n"), 1):
            if len(line) > LONGEST_LINE and not line.startswith("|"):  # rows of tables cannot wrap
                yield f"{name}:{number}: {len(line)} characters: at most {LONGEST_LINE}"
    if path.suffix in {".md", ".rst"}:
        text = _CODE.sub(lambda code: re.sub(r"[^\n]", " ", code[0]), text)
    for pattern, remedy in _WORDS.items():
        for match in pattern.finditer(text):
            number = text.count("\n", 0, match.start())
            if not _WAIVER.search(lines[number]):
                yield f"{name}:{number + 1}: {' '.join(match[0].split())!r}: write {remedy}"


def main() -> int:
    """List the findings of the checkout; return the exit status."""
    refuse_arguments("tools.plain_english", __doc__)
    found = [each for path in files(ROOT) if path != THIS for each in find(path)]
    sys.stdout.writelines(f"{each}\n" for each in found)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
