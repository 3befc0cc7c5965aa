# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Texts where numbers are meant, of kernels and of packages of others."""

from pathlib import Path

import pytest

from policy_inference.machine.machine import Machine, number_in, version_of
from policy_inference.machine.telemetry import device_clock, likely_causes

ODD = ["", "²", "5²", "1.2.3", "nan", "inf", "9" * 4400, "busy", "0x10"]


@pytest.mark.parametrize("text", ODD)
def test_text_that_is_no_number_is_none(text: str) -> None:
    assert number_in(text) is None
    assert "85" not in likely_causes({"npu_temperature_c": text})


def test_numbers_are_read_with_sign_and_point() -> None:
    assert [number_in(text) for text in ("12", "-0.5", " 3\n")] == [12.0, -0.5, 3.0]


def test_steps_of_a_clock_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    for name, text in {
        "cur_freq": "300000000",
        "max_freq": "600000000",
        "available_frequencies": "300000000 ² 1000000000",
    }.items():
        (tmp_path / name).write_text(text, "utf-8")
    clock = device_clock(Machine(tmp_path), tmp_path)

    assert clock is not None
    assert clock.highest_mhz == 1000.0


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
