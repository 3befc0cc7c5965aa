# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""No text that fits into a file takes more time or memory than a large honest one."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from policy_core.bundle.bounded_yaml import LARGEST_BYTES, MOST_VALUES, YamlError, load_text
from testkit.fuzzing import bounded, changed_bytes, examples
from testkit.wording import check_wording, refusal

from .editing import any_contract, joint_contract, refused_problems

MERGES = "a0: &a0 {k: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 9)
)
LAUGHS = "a0: &a0 [x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30)
)


HOSTILE = {
    "a pattern without quotes": "a: {F[LR]_hip: 1}",
    "a pattern without quotes beside a key": "a: {b: 1, [LR]_hip: 1}",
    "a pattern without quotes in a list": "[F[LR]_hip]",
    "merge keys": MERGES,
    "laughs": LAUGHS,
    "many keys": "".join(f"k{i}: 1\n" for i in range(100_000)),
    "an anchor in itself, merged": "a: &a {<<: *a}",
    "an anchor in itself": "a: &a [[*a]]",
    "many brackets": "[" * 500_000,
    "many dashes": "- " * 500_000,
    "many question marks": "? " * 500_000,
    "a long integer": "a: " + "9" * 300_000,
    "a long decimal": "a: 1." + "9" * 300_000,
    "an integer in base 60": "a: !!int '1:1:1'",
    "no int": "a: !!int x",
    "no float": "a: !!float x",
    "no bool": "a: !!bool x",
    "no timestamp": "a: !!timestamp x",
    "no date": "a: 2026-13-45",
    "no base 64": "a: !!binary 'x'",
    "a list as key": "{[a]: 1}",
    "a call": "a: !!python/object/apply:os.system [x]",
    "a doubled key": "{a: 1, a: 2}",
    "a doubled key inside": "a: {b: {c: 1, c: 2}}",
    "an unknown anchor": "a: *b",
    "an include": "a: !include b",
    "a list as map": "a: !!map [a]",
    "text as map": "a: !!map x",
    "a list as set": "a: !!set [a]",
    "beyond Unicode": r'"\U7FFFFFFF"',
    "beyond 32 bits": r'"\UFFFFFFFF"',
    "a long version": "%YAML 1." + "1" * 5000 + "\n--- a",
    "a surrogate": r'a: "\ud800"',
    "a null character": r'{"a\0": 1}',
    "an escape": r'a: "\e[2J"',
    "a long tag": "!<" + "a" * 900_000 + "> x",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_text_is_one_error(case: str) -> None:
    assert len(HOSTILE[case]) <= LARGEST_BYTES
    with refusal(YamlError) as caught:
        load_text(HOSTILE[case])
    assert len(str(caught.value)) < 400


def test_aliases_and_merge_keys_of_a_usual_text_are_followed() -> None:
    text = "a: &a {x: 1, y: [2]}\nb: {<<: *a, x: 3}\nc: *a"
    assert load_text(text) == {
        "a": {"x": 1, "y": [2]},
        "b": {"x": 3, "y": [2]},
        "c": {"x": 1, "y": [2]},
    }


@pytest.mark.slow
def test_a_large_honest_text_is_read() -> None:
    values = list(range(MOST_VALUES - 10))
    assert load_text(yaml.safe_dump({"values": values})) == {"values": values}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-3", -3),
        ("1_000", 1000),
        ("0x1F", 31),
        ("1e-3", 0.001),
        ("+1E+2", 100.0),
        ("1.e2", 100.0),
        ("25.", 25.0),
        ("-.5", -0.5),
        ("-.inf", -math.inf),
        ("1:30", "1:30"),
        ("010", "010"),
        ("0b1", "0b1"),
        ("1:30.5", "1:30.5"),
        ("+", "+"),
        ("0x", "0x"),
    ],
)
def test_numbers_are_decimal(text: str, value: object) -> None:
    assert load_text(text) == value


SIGNS = st.text("ab01.:-?&*!<>[]{},#'\"|%@\n\t x_e", max_size=60)
SOURCES = (MERGES, LAUGHS, "a: &a {x: 1}\nb: {<<: *a, y: 2026-01-01}\nc: [1:30, 0x1f, 1e3]\n")
changed = changed_bytes(*(text.encode() for text in SOURCES))


@pytest.mark.fuzz
@given(SIGNS | changed.map(lambda data: data.decode("utf-8", "replace")))
@examples(4)
def test_any_text_is_a_value_or_one_error(text: str) -> None:
    with contextlib.suppress(YamlError), bounded():
        load_text(text)


Replace = Callable[[str, str], Path]

NOT_YAML = {
    "binary junk": bytes(range(256)),
    "another encoding": "a: ä".encode("utf-16"),
    "a tab as indentation": b"joints:\n\tnames: [a]",
    "an open bracket": b"joints: [a, b",
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
