# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Files that are not the YAML that they seem: syntax, doubled keys, tags, ways to write numbers."""

from collections.abc import Callable
from pathlib import Path

import pytest

from .editing import joint_contract, problems_of

Replace = Callable[[str, str], Path]

NOT_YAML = {
    "binary junk": (bytes(range(256)), "'utf-8' codec can't decode byte 0x80"),
    "another encoding": ("a: ä".encode("utf-16"), "'utf-8' codec can't decode byte 0xff"),
    "control characters": (b"name: \x00\x01", "unacceptable character #x0000"),
    "a zip archive": (b"PK\x03\x04\x14\x00", "unacceptable character #x0003"),
    "a tab as indentation": (b"joints:\n\tnames: [a]", "line 2, column 1: character"),
    "an open bracket": (b"joints: [a, b", "line 1, column 14: expected ',' or ']'"),
    "two colons": (b"rate_hz: 50: 60", "line 1, column 12: mapping values are not allowed here"),
    "a list as key": (b"? [a, b]\n: 1", "line 1, column 3: a key that is no text"),
    "two documents": (b"kind: joint\n---\nkind: joint", "line 2, column 1: but found another"),
    "an unknown anchor": (b"kind: *joint", "line 1, column 7: undefined alias"),
    "a date that is none": (b"date: 2026-13-45", "line 1, column 7: a value that is no timestamp"),
    "endless nesting": (b"[" * 20000, "line 1, column 41: more than 40 values in each other"),
}

NO_MAPPING = {
    "empty": (b"", "found nothing"),
    "blank": (b"\n\n  \n", "found nothing"),
    "only a comment": (b"# a contract\n", "found nothing"),
    "only the end of a document": (b"---\n...\n", "found nothing"),
    "a list": (b"- kind: joint\n", "found a list"),
    "a word": (b"joint\n", "found text"),
    "a number": (b"50\n", "found a number"),
}

NUMBERS = {
    "1e-3": 0.001,
    "1e1": 10.0,
    "+1E+2": 100.0,
    "2.5e1": 25.0,
    "1.e2": 100.0,
    ".5e2": 50.0,
    "25": 25.0,
    "25.": 25.0,
    "0.5": 0.5,
    "1_000": 1000.0,
}

NOT_NUMBERS = [
    "1e",
    "e3",
    "1e-3x",
    "50Hz",
    "1,5",
    "1/50",
    "1:30",
    "010",
    "0b11",
    "nan",
    "${RATE}",
    "~",
    "yes",
]


@pytest.mark.parametrize("case", NOT_YAML)
def test_file_that_is_no_yaml_rejected(bundle_dir: Path, case: str) -> None:
    content, message = NOT_YAML[case]
    file = bundle_dir / "policy.yaml"
    file.write_bytes(content)

    (problem,) = problems_of(file)

    assert problem.startswith(f"expected YAML, found {message}")


@pytest.mark.parametrize("case", NO_MAPPING)
def test_yaml_that_is_no_mapping_rejected(bundle_dir: Path, case: str) -> None:
    content, message = NO_MAPPING[case]
    file = bundle_dir / "policy.yaml"
    file.write_bytes(content)

    assert problems_of(file) == [f"expected a mapping with the keys of JointContract, {message}"]


def test_doubled_key_at_the_top_rejected(replace: Replace) -> None:
    file = replace("rate_hz: 50", "rate_hz: 50\nrate_hz: 60")

    (problem,) = problems_of(file)

    assert problem == "expected YAML, found line 7, column 1: the key rate_hz stands twice"


def test_doubled_key_inside_rejected(replace: Replace) -> None:
    (problem,) = problems_of(replace("{damping: 3.0}", "{damping: 3.0, damping: 4.0}"))

    assert problem.endswith("the key damping stands twice")


def test_doubled_joint_of_a_map_rejected(replace: Replace) -> None:
    (problem,) = problems_of(
        replace("{left_knee: 10, right_knee: 12}", "{left_knee: 10, left_knee: 12}")
    )

    assert problem.endswith("the key left_knee stands twice")


@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system ['true']", "!!python/name:os.system", "!include a"]
)
def test_tag_is_refused_and_not_run(replace: Replace, tag: str) -> None:
    (problem,) = problems_of(replace("rate_hz: 50", f"rate_hz: {tag}"))

    assert "could not determine a constructor for the tag" in problem


@pytest.mark.parametrize("text", NUMBERS)
def test_every_way_to_write_a_number_is_one(replace: Replace, text: str) -> None:
    contract = joint_contract(replace("stiffness: 60.0", f"stiffness: {text}"))

    assert contract.stand.stiffness.tolist() == [NUMBERS[text]] * 2


@pytest.mark.parametrize("text", NOT_NUMBERS)
def test_text_that_only_looks_like_a_number_rejected(replace: Replace, text: str) -> None:
    (problem,) = problems_of(replace("effort_limit: 20.0", f"effort_limit: {text}"))

    assert problem.startswith("joints.effort_limit: expected a number, found ")


@pytest.mark.parametrize("text", [".nan", ".NaN", ".inf", "-.inf", "1e999"])
def test_number_that_is_not_finite_rejected(replace: Replace, text: str) -> None:
    (problem,) = problems_of(replace("default_position: 0.5", f"default_position: {text}"))

    assert problem.startswith("joints.default_position: expected a finite number, found ")


def test_date_and_version_without_quotes_say_what_to_do(replace: Replace) -> None:
    replace('version: "1.0.0"', "version: 1.0")
    file = replace("{source: a test,", "{source: a test, date: 2026-07-01,")

    assert problems_of(file) == [
        "version: expected text, found 1.0; put it in quotes",
        "provenance.date: expected text, found datetime.date(2026, 7, 1); put it in quotes",
    ]


def test_anchors_and_merge_keys_are_followed(replace: Replace) -> None:
    replace("damp: {damping: 3.0}", "")
    file = replace(
        "stand: {position: 0.5, stiffness: 60.0, damping: 2.0,",
        "damp: &soft {damping: 3.0}\nstand: {<<: *soft, position: 0.5, stiffness: 60.0,",
    )

    contract = joint_contract(file)

    assert contract.stand.damping.tolist() == contract.damp.damping.tolist() == [3.0, 3.0]


def test_byte_order_mark_and_windows_line_ends_are_read(bundle_dir: Path) -> None:
    file = bundle_dir / "policy.yaml"
    text = file.read_text(encoding="utf-8")
    file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())

    assert joint_contract(file).name == "two_joints"
