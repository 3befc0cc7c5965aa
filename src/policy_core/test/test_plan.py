# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import random
from enum import Enum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy_core.errors import BundleError
from policy_core.plan import MAGIC, plan_bytes, read_plan
from testkit.kernel.twins import random_contract, random_plan
from testkit.wording import refusal

SHA256 = bytes(range(32))


class Colour(Enum):
    RED = "red"


PLAN = {
    "pose": np.array([0.1, -np.inf]),
    "flag": True,
    "none": None,
    "parts": [{"name": "a", "places": np.array([3, 1])}, {"name": "b", "colour": Colour.RED}],
    "names": ("hip", "knee"),
}


def test_what_is_written_is_read_again() -> None:
    sha256, values = read_plan(plan_bytes(PLAN, SHA256), "a.polplan", SHA256)
    assert sha256 == SHA256
    assert {name: [*value] for name, value in values.items()} == {
        "pose": [0.1, -np.inf],
        "flag": [1],
        "parts.0.name": ["a"],
        "parts.0.places": [3, 1],
        "parts.1.name": ["b"],
        "parts.1.colour": ["red"],
        "names": ["hip", "knee"],
    }


@pytest.mark.parametrize(
    "begin", [b"PK" + MAGIC, MAGIC[:-1] + b"1"], ids=["other file", "other version"]
)
def test_what_is_no_plan_of_this_version_is_refused(begin: bytes) -> None:
    with refusal(BundleError) as error:
        read_plan(begin + plan_bytes(PLAN, SHA256)[len(MAGIC) :], "a.polplan")
    (problem,) = error.value.problems
    assert problem.file == "a.polplan"


@given(st.integers(0, 8 * len(plan_bytes(PLAN, SHA256)) - 1))
def test_a_plan_with_a_bit_that_differs_is_refused(place: int) -> None:
    content = bytearray(plan_bytes(PLAN, SHA256))
    content[place // 8] ^= 1 << place % 8
    with pytest.raises(BundleError):
        read_plan(bytes(content), "a.polplan")


def test_a_plan_of_another_bundle_is_refused() -> None:
    with refusal(BundleError):
        read_plan(plan_bytes(PLAN, SHA256), "a.polplan", bytes(32))


def test_each_truncation_of_a_plan_is_refused() -> None:
    content = random_plan(random_contract(random.Random(5)))
    read_plan(content, "whole")
    for size in range(len(content)):
        with pytest.raises(BundleError):
            read_plan(content[:size], "cut")
