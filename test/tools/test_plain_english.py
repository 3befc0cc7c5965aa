# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The check of words and of long lines, over small files."""

from pathlib import Path

import pytest

from tools.plain_english import LONG_LINES, find

PACKAGE = "src/one/one/code.py"


def findings(root: Path, name: str, text: str) -> list[tuple[str, str, str]]:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return [(finding.area, finding.place, finding.found) for finding in find(path, root)]


@pytest.mark.parametrize(
    "text",
    [
        '"""The node starts anew."""',
        "# Nobody listens.",
        'raise ValueError("Somebody else publishes it")',
        "def told(self): ...",
    ],
)
def test_a_listed_word_is_found_in_docstrings_comments_messages_and_names(
    tmp_path: Path, text: str
) -> None:
    (found,) = findings(tmp_path, PACKAGE, f"\n{text}\n")
    assert found[:2] == ("src/one", f"{PACKAGE}:2")


def test_a_line_that_says_why_may_have_the_word(tmp_path: Path) -> None:
    waived = 'user = "nobody"  # plain-english: the name of the Unix user\n'
    assert findings(tmp_path, PACKAGE, waived) == []
    assert len(findings(tmp_path, PACKAGE, waived.replace(" the name of the Unix user", ""))) == 1


def test_a_line_of_markdown_has_120_characters_at_most(tmp_path: Path) -> None:
    text = "x" * 120 + "\n```\n" + "y" * 121 + "\n```\n"
    assert findings(tmp_path, "README.md", text) == [(LONG_LINES, "README.md:3", "121 characters")]
