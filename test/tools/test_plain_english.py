# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The check of words and of long lines, over small files."""

from pathlib import Path

import pytest

from testkit.wording import check_wording
from tools.plain_english import LONG_LINES, DialectFinding, compare, files, find, lowered

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


def test_a_phrase_is_found_over_the_end_of_a_comments_line(tmp_path: Path) -> None:
    text = "# A double stands in\n# the place of the runtime.\n"
    assert findings(tmp_path, PACKAGE, text) == [
        ("src/one", f"{PACKAGE}:1", "'in # the place of'"),
    ]


def test_a_line_that_says_why_may_have_the_word(tmp_path: Path) -> None:
    waived = 'user = "nobody"  # plain-english: the name of the Unix user\n'
    assert findings(tmp_path, PACKAGE, waived) == []
    assert len(findings(tmp_path, PACKAGE, waived.replace(" the name of the Unix user", ""))) == 1


def test_code_on_a_page_is_quoted_and_prose_is_not(tmp_path: Path) -> None:
    text = (
        "Use `--no-pictures`:\n\n```bash\nmake demo PICTURES=no\n```\n\nThe pictures are large.\n"
    )
    assert findings(tmp_path, "docs/page.md", text) == [
        ("docs", "docs/page.md:7", "'pictures'"),
    ]


def test_a_line_of_markdown_has_120_characters_at_most(tmp_path: Path) -> None:
    text = "x" * 120 + "\n```\n" + "y" * 121 + "\n```\n"
    assert findings(tmp_path, "README.md", text) == [
        (LONG_LINES, "README.md:3", "121 characters"),
    ]


def test_tests_and_locks_are_not_looked_at(tmp_path: Path) -> None:
    for name in (PACKAGE, "src/one/test/test_code.py", "tools/setup/locks/a.yaml", "docs/a.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("anew")
    found = {str(path.relative_to(tmp_path)) for path in files(tmp_path)}
    assert found == {PACKAGE, "docs/a.md"}


def of(area: str, number: int) -> list[DialectFinding]:
    return [
        DialectFinding(area, f"{area}/{i}.py:1", "'anew'", "write 'again'") for i in range(number)
    ]


def test_more_findings_are_listed_with_their_remedy() -> None:
    *listed, last = compare(of("docs", 2), {"docs": 1})
    assert [line.partition(": ")[0] for line in listed] == ["docs/0.py:1", "docs/1.py:1"]
    check_wording(listed[0], last)


def test_fewer_findings_fail_until_the_allowance_is_lowered() -> None:
    found, allowed = of("docs", 1), {"docs": 3, "tools": 2}
    assert len(compare(found, allowed)) == 2
    assert lowered(found, allowed) == {"docs": 1}
    assert compare(found, lowered(found, allowed)) == []
