# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The digests find what they are made for: one bit, one line, one stage that is not there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from testkit.numbers import numbers_in
from testkit.wording import check_wording
from tools.digests.digest import difference, digest, keep, kept, write
from tools.digests.texts import json_lines, plain_lines, text_stages

ROWS = np.arange(12.0).reshape(4, 3)


def test_the_last_bit_of_one_value_changes_the_digest() -> None:
    other = ROWS.copy()
    other[2, 1] = np.nextafter(other[2, 1], 99.0)
    assert digest(other)["sha256"] != digest(ROWS)["sha256"]
    assert digest(ROWS.copy(order="F"))["sha256"] == digest(ROWS)["sha256"]


def test_the_sign_of_nan_does_not_count_and_that_of_zero_does() -> None:
    assert digest(np.array([-np.nan])) == digest(np.array([np.nan]))
    assert digest(np.array([-0.0]))["sha256"] != digest(np.array([0.0]))["sha256"]


def test_a_difference_names_row_column_and_both_values() -> None:
    other = ROWS.copy()
    other[2, 1] = 7.5
    other[3, 0] = 1.0
    check_wording(difference(ROWS, other))
    assert {2, 1, 7.0, 7.5, 4} <= {*numbers_in(difference(ROWS, other))}


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    keep(tmp_path, "a/case", {"rows": ROWS, "text": ["one", "two"]})
    np.testing.assert_array_equal(kept(tmp_path, "a/case", "rows", ROWS), ROWS)
    assert kept(tmp_path, "a/case", "text", ["two"]) == ["one", "two"]
    assert kept(tmp_path, "a/case", "other", ROWS) is None


def test_folders_versions_and_frames_of_tables_are_not_part_of_a_text(tmp_path: Path) -> None:
    text = f"│ {tmp_path}/a.npz   │ numpy {np.__version__} │\n├──┤\n"
    assert plain_lines(text, work=tmp_path) == ["<work>/a.npz numpy <numpy>"]


def test_the_numbers_of_a_text_stay_when_its_words_change() -> None:
    before, after = text_stages(["found -1.5 rad in row 3"]), text_stages(["row 3 has 3 values"])
    assert before["numbers"] == ["-1.5 3"] == text_stages(["-1.5 rad too far: 3"])["numbers"]
    assert after["numbers"] != before["numbers"]


def test_each_leaf_of_a_document_is_a_line_and_keys_have_no_order() -> None:
    document = {"b": [1, {"c": 0.1 + 0.2}], "a": None, "seconds": 3}
    assert json_lines(document, "seconds:") == ["a: null", "b[0]: 1", "b[1].c: 0.3"]


@pytest.mark.acceptance
def test_a_service_that_answers_as_before_passes_and_another_digest_fails(tmp_path: Path) -> None:
    file, kept_in = tmp_path / "digests.json", tmp_path / "kept"

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tools.digests", *words]
        return subprocess.run(
            [*command, "--only", "service", "--keep", str(kept_in)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ},
        )

    assert run("--write", str(file)).returncode == 0
    assert run("--check", str(file)).returncode == 0

    known = json.loads(file.read_text("utf-8"))
    known["service/raw"]["bytes"]["sha256"] = 64 * "0"
    write(file, known)
    failed = run("--check", str(file))
    assert failed.returncode == 1
    assert "service/raw: bytes:" in failed.stderr
