# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Texts where numbers are meant, of kernels and of packages of others."""

import pytest

from policy_inference.machine.machine import number_in, version_of
from policy_inference.machine.telemetry import likely_causes

ODD = ["", "²", "5²", "1.2.3", "nan", "inf", "9" * 4400, "busy", "0x10"]


@pytest.mark.parametrize("text", ODD)
def test_text_that_is_no_number_is_none(text: str) -> None:
    assert number_in(text) is None
    assert "85" not in likely_causes({"npu_temperature_c": text})


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("rknn-toolkit2 2.5.0", (2, 5, 0)),
        ("v1.2", (1, 2)),
        ("none", ()),
        ("9" * 4400 + ".1", ()),
        ("1." + "9" * 4400, ()),
    ],
)
def test_version_is_of_numbers_that_a_version_has(text: str, version: tuple[int, ...]) -> None:
    assert version_of(text) == version
