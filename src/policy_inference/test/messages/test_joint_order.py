# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import itertools

import numpy as np
import pytest

from policy_core.errors import RobotError
from policy_core.interfaces import F64
from policy_inference.messages.readers import JointOrder
from testkit.kernel.contracts import JOINTS
from testkit.wording import refusal

VALUES = {"hip": 1.0, "knee": 2.0, "ankle": 3.0, "gripper": 9.0}


@pytest.fixture
def order() -> JointOrder:
    return JointOrder(JOINTS)


def taken_values(order: JointOrder, *names: str) -> F64:
    out = np.full(3, np.nan)
    order.take(list(names), np.array([VALUES[name] for name in names]), out)
    return out


@pytest.mark.parametrize("names", list(itertools.permutations(JOINTS)), ids=",".join)
def test_values_follow_their_names_in_any_order(order: JointOrder, names: tuple[str, ...]) -> None:
    assert taken_values(order, *names).tolist() == [1.0, 2.0, 3.0]


def test_joints_that_the_policy_does_not_know_are_ignored(order: JointOrder) -> None:
    found = taken_values(order, "gripper", "ankle", "hip", "gripper", "knee")
    assert found.tolist() == [1.0, 2.0, 3.0]


def test_a_change_of_the_names_is_noticed(order: JointOrder) -> None:
    taken_values(order, "hip", "knee", "ankle")
    assert taken_values(order, "ankle", "knee", "hip").tolist() == [1.0, 2.0, 3.0]
    assert taken_values(order, "hip", "knee", "ankle").tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("names", [("hip", "gripper", "hip"), (), ("hip", "knee")], ids=",".join)
def test_missing_and_doubled_joints_are_named_each_time_and_nothing_is_written(
    order: JointOrder, names: tuple[str, ...]
) -> None:
    out = np.full(3, 7.0)
    for _ in range(2):
        with refusal(RobotError):
            order.take(list(names), np.zeros(len(names)), out)
    assert out.tolist() == [7.0, 7.0, 7.0]
    assert taken_values(order, "knee", "hip", "ankle").tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("count", [0, 2, 4])
def test_as_many_values_as_names_are_expected(order: JointOrder, count: int) -> None:
    with refusal(RobotError):
        order.take(list(JOINTS), np.zeros(count), np.zeros(3))
