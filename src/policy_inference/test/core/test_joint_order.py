# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import itertools

import numpy as np
import pytest

from policy_inference.core.joint_order import JointOrder
from policy_inference.errors import RobotError
from policy_inference.interfaces import F64
from testkit.wording import refusal

from .contracts import JOINTS

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
    assert taken_values(order, "gripper", "ankle", "hip", "gripper", "knee").tolist() == [
        1.0,
        2.0,
        3.0,
    ]


def test_a_change_of_the_names_is_noticed(order: JointOrder) -> None:
    taken_values(order, "hip", "knee", "ankle")
    assert taken_values(order, "ankle", "knee", "hip").tolist() == [1.0, 2.0, 3.0]
    assert taken_values(order, "hip", "knee", "ankle").tolist() == [1.0, 2.0, 3.0]


def test_missing_and_doubled_joints_are_all_named(order: JointOrder) -> None:
    with refusal(RobotError):
        taken_values(order, "hip", "gripper", "hip")


def test_a_message_without_names_is_refused_from_the_first_on(order: JointOrder) -> None:
    with refusal(RobotError):
        taken_values(order)


def test_names_that_were_refused_are_refused_again(order: JointOrder) -> None:
    for _ in range(2):
        with refusal(RobotError):
            taken_values(order, "hip", "knee")
    assert taken_values(order, "knee", "hip", "ankle").tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("count", [0, 2, 4])
def test_as_many_values_as_names_are_expected(order: JointOrder, count: int) -> None:
    with refusal(RobotError):
        order.take(list(JOINTS), np.zeros(count), np.zeros(3))


def test_nothing_is_written_where_the_message_does_not_fit(order: JointOrder) -> None:
    out = np.full(3, 7.0)
    with pytest.raises(RobotError):
        order.take(["hip", "knee"], np.zeros(2), out)
    assert out.tolist() == [7.0, 7.0, 7.0]
