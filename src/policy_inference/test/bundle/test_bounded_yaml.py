# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""No text that fits into a file takes more time or memory than a large honest one."""

from __future__ import annotations

import contextlib
import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from policy_inference.bundle.bounded_yaml import LARGEST_BYTES, MOST_VALUES, YamlError, load_text
from policy_inference.testing.fuzzing import bounded, changed_bytes, examples

MERGES = "a0: &a0 {k: 1}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 9)
)
LAUGHS = "a0: &a0 [x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30)
)


@pytest.mark.parametrize("text", ["a: {F[LR]_hip: 1}", "a: {b: 1, [LR]_hip: 1}", "[F[LR]_hip]"])
def test_a_pattern_without_quotes_in_braces_has_the_remedy(text: str) -> None:
    with pytest.raises(YamlError, match=r"line 1, column .*quote text that has brackets"):
        load_text(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (MERGES, "more than 20000 values, aliases written out"),
        (LAUGHS, "more than 20000 values, aliases written out"),
        ("".join(f"k{i}: 1\n" for i in range(100_000)), "more than 20000 values"),
        ("a: &a {<<: *a}", "an anchor that holds itself"),
        ("a: &a [[*a]]", "an anchor that holds itself"),
        ("[" * 500_000, "more than 40 values in each other"),
        ("- " * 500_000, "more than 40 values in each other"),
        ("? " * 500_000, "more than 40 values in each other"),
        ("a: " + "9" * 1_000_000, "a number of more than 1000 characters"),
        ("a: 1." + "9" * 1_000_000, "a number of more than 1000 characters"),
        ("a: !!int '1:1:1'", "line 1, column 4: a value that is no int"),
        ("a: !!int x", "a value that is no int"),
        ("a: !!float x", "a value that is no float"),
        ("a: !!bool x", "a value that is no bool"),
        ("a: 0x", "none"),
        ("a: !!timestamp x", "a value that is no timestamp"),
        ("a: 2026-13-45", "is no timestamp"),
        ("a: !!binary 'x'", "base64"),
        ("{[a]: 1}", "a key that is no text"),
        ("a: !!python/object/apply:os.system [x]", "could not determine a constructor"),
        ("{a: 1, a: 2}", "the key a stands twice"),
        ("a: !!map [a]", "line 1, column 4: a value that is no mapping"),
        ("a: !!map x", "a value that is no mapping"),
        ("a: !!set [a]", "a value that is no mapping"),
        (r'"\U7FFFFFFF"', "chr"),
        (r'"\UFFFFFFFF"', "int too large"),
        ("%YAML 1." + "1" * 5000 + "\n--- a", "limit .* for integer string conversion|version"),
        (r'a: "\ud800"', "line 1, column 4: an escape of a character that no text has"),
        (r'{"a\0": 1}', "an escape of a character that no text has"),
        (r'a: "\e[2J"', "an escape of a character that no text has"),
        ("!<" + "a" * 900_000 + "> x", r"the tag 'a{100,300}\.\.\.$"),
    ],
    ids=range(31),
)
def test_a_hostile_text_is_one_error(text: str, found: str) -> None:
    assert len(text) <= LARGEST_BYTES
    if found == "none":
        load_text(text)
        return
    with pytest.raises(YamlError, match=found):
        load_text(text)


def test_aliases_and_merge_keys_of_a_usual_text_are_followed() -> None:
    assert load_text("a: &a {x: 1, y: [2]}\nb: {<<: *a, x: 3}\nc: *a") == {
        "a": {"x": 1, "y": [2]},
        "b": {"x": 3, "y": [2]},
        "c": {"x": 1, "y": [2]},
    }


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
        ("-.5", -0.5),
        ("-.inf", -math.inf),
        ("1:30", "1:30"),
        ("010", "010"),
        ("0b1", "0b1"),
        ("1:30.5", "1:30.5"),
        ("+", "+"),
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
