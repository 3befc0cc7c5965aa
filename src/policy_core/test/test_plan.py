# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import random
from enum import Enum

import numpy as np
import pytest

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


def _damaged(change: str) -> bytes:
    content = plan_bytes({"pose": np.array([0.1])}, SHA256)
    place = content.index(b"pose")
    match change:
        case "other file":
            return b"PK" + content
        case "other version":
            return content.replace(MAGIC, MAGIC[:-1] + b"2")
        case "cut":
            return content[:-1]
        case "longer":
            return content + b"\0"
        case "type":
            return content[: place + 4] + b"x" + content[place + 5 :]
        case "count":
            return content[: place + 5] + b"\xff" * 8 + content[place + 13 :]
        case _:
            return content[:place] + b"\xff\xff\xff\xff" + content[place + 4 :]


@pytest.mark.parametrize("change", ["other file", "other version", "cut", "type", "count", "name"])
def test_a_damaged_plan_is_one_problem(change: str) -> None:
    with refusal(BundleError) as error:
        read_plan(_damaged(change), "a.polplan")
    (problem,) = error.value.problems
    assert problem.file == "a.polplan"


def test_a_plan_of_another_bundle_is_refused() -> None:
    with refusal(BundleError):
        read_plan(plan_bytes(PLAN, SHA256), "a.polplan", bytes(32))


def test_each_truncation_of_a_plan_is_refused() -> None:
    content = random_plan(random_contract(random.Random(5)))
    read_plan(content, "whole")
    for size in range(len(content)):
        with pytest.raises(BundleError):
            read_plan(content[:size], "cut")
