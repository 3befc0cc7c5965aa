# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The native core commands and remembers the same as the Python core, bit for bit."""

import random
import sys
from collections.abc import Callable

import pytest

from policy_core.guard.bounds import Rule
from policy_core.interfaces import Mode
from policy_core.native_words import native_plan
from policy_core.plan import plan_bytes
from testkit.kernel.chunk_twins import (
    ArmedSetTwins,
    ChunkTwins,
    RandomArm,
    random_armed_set,
    random_chunk_policy,
)
from testkit.kernel.twins import RandomRobot, Twins, random_contract, random_set
from testkit.wording import refusal

native = pytest.importorskip("policy_core_native", reason="the native core is not built")
TICKS = 400


def _policy(seed: int) -> RandomRobot:
    return RandomRobot(Twins(native, random_contract(random.Random(seed)), seed), seed)


def _set(seed: int) -> RandomRobot:
    contract, members = random_set(random.Random(seed))
    return RandomRobot(Twins(native, contract, seed, members), seed)


def _chunks(seed: int) -> RandomRobot:
    return RandomArm(ChunkTwins(native, random_chunk_policy(random.Random(seed))), seed)


def _armed_set(seed: int) -> RandomRobot:
    return RandomArm(ArmedSetTwins(native, random_armed_set(random.Random(seed)), seed), seed)


_MAKE = pytest.mark.parametrize("make", [_policy, _set, _chunks, _armed_set])


@_MAKE
# 39: two commands end in the same tick. 472: a leader comes back out of range, then in range.
@pytest.mark.parametrize("seed", [*range(8), 39, 472])
def test_a_random_contract_and_a_random_life_are_equal_bit_for_bit(
    make: Callable[[int], RandomRobot], seed: int
) -> None:
    make(seed).live(TICKS)


@_MAKE
@pytest.mark.parametrize("seed", range(4))
def test_other_controllers_take_up_a_life_from_its_state(
    make: Callable[[int], RandomRobot], seed: int
) -> None:
    robot, other = make(seed), make(seed)
    robot.live(60 + 40 * seed)
    other.go_on_from(robot)
    other.live(50)


def test_a_controller_holds_each_array_of_a_model_once() -> None:
    contract = random_contract(random.Random(1))
    twins = Twins(native, contract, 1)
    model = twins.models[""][1]
    array = next(iter(model.inputs.values()))
    before = sys.getrefcount(array)
    plan = plan_bytes(native_plan(twins.python), bytes(32))
    _held = native.NativeController(
        plan, {"": (model.inputs, model.outputs, model.number)}, twins.clock
    )
    assert sys.getrefcount(array) == before + 1


def test_a_plan_without_texts_has_no_words() -> None:
    twins = Twins(native, random_contract(random.Random(1)), 1)
    native.Words(plan_bytes(native_plan(twins.python), bytes(32)))
    with refusal(native.PlanError):
        native.Words(plan_bytes(twins.python.plan(), bytes(32)))


@pytest.mark.acceptance
@_MAKE
@pytest.mark.parametrize("hundred", range(10))
def test_a_thousand_random_contracts_of_each_kind_are_equal(
    make: Callable[[int], RandomRobot], hundred: int
) -> None:
    modes, rules = set[Mode](), set[Rule]()
    for seed in range(100 * hundred, 100 * (hundred + 1)):
        robot = make(seed)
        robot.live(TICKS)
        modes |= robot.modes
        rules |= robot.rules
    assert len(modes) == 5
    assert len(rules) >= 10
