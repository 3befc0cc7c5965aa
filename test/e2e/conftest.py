# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Processes that the tests of a module share; each test gets a robot that walks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from examples.demos.runner import own_domain
from policy_inference.testing.domains import claimed_domain_id
from robot_operator.requests import OperatorError
from robot_sim.errors import SimError

from .rig import Rig

WALKING_MPS = 0.5


@pytest.fixture(scope="module")
def renewable_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[bool], Rig]]:
    """Return what hands out the module's processes, new ones if asked for or for a start."""
    current: list[Rig] = []
    with claimed_domain_id() as domain_id:

        def get(fresh: bool) -> Rig:
            if fresh and current:
                current.pop().end()
            if not current:
                with pytest.MonkeyPatch.context() as patch:
                    for name, value in own_domain({}, seed=domain_id - 1).items():
                        patch.setenv(name, value)
                    current.append(Rig(tmp_path_factory.mktemp("rig")))
            return current[0]

        yield get
        while current:
            current.pop().end()


@pytest.fixture
def walker(renewable_rig: Callable[[bool], Rig]) -> Rig:
    """A robot that has walked at 0.5 m/s for a second, in processes that others used before."""
    rig = renewable_rig(False)
    try:
        _recover(rig)
    except (OperatorError, SimError):
        # It lies where the test before has left it, and not every pose is one to stand up from.
        rig = renewable_rig(True)
        _recover(rig)
    rig.operator.move(WALKING_MPS)
    rig.operator.wait(1.0)
    return rig


def _recover(rig: Rig) -> None:
    rig.set_faults()
    rig.operator.let_go()
    rig.operator.demand("damp")
    rig.operator.demand("reset")
    rig.operator.stand_up()
