# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Telemetry of another author's package: text comes through, and nothing else does."""

import sys
from typing import Any

import pytest

from policy_inference.machine.telemetry import read_safely

LOAD = {"npu_load_percent": "31"}


def test_texts_come_through() -> None:
    assert read_safely(lambda: LOAD) == (LOAD, "")


@pytest.mark.parametrize("odd", [{"a": 31}, {"a": None}, {7: "x"}, {"a": "\ud800"}, {"a": b"x"}])
def test_what_is_no_text_is_left_out_and_named(odd: dict[Any, Any]) -> None:
    values, wrong = read_safely(lambda: LOAD | odd)
    ((key, value),) = odd.items()
    assert values == LOAD
    assert f"{key!r}: {value!r}" in wrong


@pytest.mark.parametrize("result", [None, 5, ["load"], "load"])
def test_what_is_no_mapping_is_reported(result: Any) -> None:
    values, wrong = read_safely(lambda: result)
    assert values == {}
    assert "Error: " in wrong


def test_what_is_raised_is_reported_even_an_exit() -> None:
    assert read_safely(lambda: sys.exit("gone")) == ({}, "SystemExit: gone")
