# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Files that are not the YAML that they seem: syntax, doubled keys, tags, ways to write numbers."""

from collections.abc import Callable
from pathlib import Path

import pytest

from testkit.wording import check_wording

from .editing import any_contract, joint_contract, refused_problems

Replace = Callable[[str, str], Path]

NOT_YAML = {
    "binary junk": bytes(range(256)),
    "another encoding": "a: ä".encode("utf-16"),
    "control characters": b"name: \x00\x01",
    "a zip archive": b"PK\x03\x04\x14\x00",
    "a tab as indentation": b"joints:\n\tnames: [a]",
    "an open bracket": b"joints: [a, b",
    "two colons": b"rate_hz: 50: 60",
    "two documents": b"kind: joint\n---\nkind: joint",
}

NO_MAPPING = {
    "empty": b"",
    "only a comment": b"# a contract\n",
    "a list": b"- kind: joint\n",
    "a word": b"joint\n",
    "a number": b"50\n",
}


NOT_NUMBERS = (
    *("1e", "e3", "1e-3x", "50Hz", "1,5", "1/50", "1:30", "010", "0b11", "nan", "${RATE}", "~"),
    "yes",
)


@pytest.mark.parametrize("case", [*NOT_YAML, *NO_MAPPING])
def test_file_that_is_no_contract_is_refused_as_a_whole(bundle_dir: Path, case: str) -> None:
    file = bundle_dir / "policy.yaml"
    file.write_bytes({**NOT_YAML, **NO_MAPPING}[case])
    (problem,) = refused_problems(lambda: any_contract(file))
    assert (problem.key, problem.expected == "YAML") == ("", case in NOT_YAML)
    check_wording(problem)


@pytest.mark.parametrize("text", [*NOT_NUMBERS, ".nan", ".NaN", ".inf", "-.inf", "1e999"])
def test_text_that_only_looks_like_a_finite_number_is_refused(
    replace_text: Replace, text: str
) -> None:
    file = replace_text("effort_limit: 20.0", f"effort_limit: {text}")
    (problem,) = refused_problems(lambda: any_contract(file))
    assert problem.key == "joints.effort_limit"
    assert ("finite" in problem.expected) == (text not in NOT_NUMBERS)


def test_date_and_version_without_quotes_say_what_to_do(replace_text: Replace) -> None:
    replace_text('version: "1.0.0"', "version: 1.0")
    file = replace_text("{source: a test,", "{source: a test, date: 2026-07-01,")
    problems = refused_problems(lambda: any_contract(file))
    assert [problem.key for problem in problems] == ["version", "provenance.date"]
    check_wording(*problems)


def test_byte_order_mark_and_windows_line_ends_are_read(bundle_dir: Path) -> None:
    file = bundle_dir / "policy.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())

    assert joint_contract(file).name == "two_joints"
