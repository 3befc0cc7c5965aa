# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Policy sets of walkers without files, and a robot in simulated time that one of them drives."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from policy_core.bundle.body import AnyContract
from policy_core.bundle.bundle import AnyBundle
from policy_core.bundle.contract import JointContract
from policy_core.bundle.resolve_set import resolve_set
from policy_core.bundle.schema import Reader
from policy_core.bundle.set_bundle import SetBundle
from policy_core.bundle.set_contract import SetContract, SetFile, tracks_clip
from policy_core.bundle.validate_set import validate_set
from policy_core.control.controller import Controller
from policy_core.guard.limits import Limits, StricterLimits, limits_in_force
from policy_core.interfaces import F64, Mode
from policy_core.sets.controller import (
    SensedState,
    SetRequests,
    make_policy_set,
    set_controller,
    set_inputs,
)
from policy_core.sets.policy import PolicySet
from testkit.edits import with_edits
from testkit.kernel.contracts import NOMINAL, bundle_of, clip_of, contract_of
from testkit.kernel.cores import maker
from testkit.kernel.robots import Robot, ScriptedBackend

Changes = Mapping[str, object]
TRANSITION = {"blend_s": 0.1}
WALK_AND_CROUCH: Mapping[str, Any] = {
    "schema_version": 1,
    "kind": "set",
    "name": "gaits",
    "version": "1.0.0",
    "members": {
        "walk": {"bundle": "../walk", "sha256": "0" * 64},
        "crouch": {"bundle": "../crouch", "sha256": "0" * 64},
    },
    "initial": "walk",
    "states": {
        "walk": {"members": ["walk"], "stand": True, "to": {"crouch": TRANSITION}},
        "crouch": {"members": ["crouch"], "way_back": "walk", "to": {"walk": TRANSITION}},
    },
}
CROUCH: Changes = {"name": "crouch", "joints.stiffness": 50.0, "joints.damping": 2.0}


def resolved(
    raw: Mapping[str, Any], contracts: Mapping[str, AnyContract]
) -> tuple[SetContract | None, list[str]]:
    """Return the contract of a set, and the problems as texts without the file's name."""
    reader = Reader("set.yaml")
    file: SetFile | None = reader.section(SetFile, dict(raw))
    contract = None
    if file is not None:
        validate_set(file, reader)
        if not reader.problems:
            contract = resolve_set(file, contracts, reader)
    return contract, [str(each).removeprefix("set.yaml: ") for each in reader.problems]


def set_bundle_of(contract: SetContract, members: Mapping[str, AnyBundle]) -> SetBundle:
    return SetBundle(path=Path(), contract=contract, content=b"", members=members)


def walkers_bundle(contract: SetContract, members: Mapping[str, JointContract]) -> SetBundle:
    """Return the bundle of a set; a member that tracks a clip has `clip_of(10)`."""
    bundles = {
        name: bundle_of(each, clip=clip_of(10) if tracks_clip(each) else None)
        for name, each in members.items()
    }
    return set_bundle_of(contract, bundles)


def opened_set(
    bundle: SetBundle,
    runners: Mapping[str, Any],
    clock: Callable[[], int],
    *,
    limits: Limits | None = None,
    make: Callable[..., Controller] = Controller,
) -> tuple[PolicySet, Controller]:
    """Return a set on what each member runs on, and its controller."""
    contract = bundle.contract
    limits = limits or limits_in_force(contract, StricterLimits())
    state = SensedState(contract, limits)
    inputs = set_inputs(contract, state, limits)
    policy = make_policy_set(bundle, runners, state, inputs, clock)
    controller = set_controller(contract, policy, state, inputs, limits, clock, make=make)
    return getattr(controller, "policy_set", policy), controller


class SetRobot(Robot):
    """Feeds the controller of a set; its members' back ends return what a test sets.

    A member that tracks a clip has `clip_of(10)`.
    """

    def __init__(
        self,
        changes: Changes | None = None,
        members: Mapping[str, Changes] | None = None,
        stricter_limits: StricterLimits | None = None,
    ) -> None:
        """Drive a set of a walker and of one that crouches, with keys replaced in each."""
        given = {"walk": {}, "crouch": CROUCH, **(members or {})}
        contracts = {name: contract_of({"nominal": NOMINAL, **given[name]}) for name in given}
        contract, problems = resolved(with_edits(WALK_AND_CROUCH, changes), contracts)
        assert contract is not None, problems
        self.set_contract = contract
        self.backends = {name: ScriptedBackend(each) for name, each in contracts.items()}
        self.now_ns = 1_000_000_000
        limits = limits_in_force(contract, stricter_limits or StricterLimits())
        self.policy, self.controller = opened_set(
            walkers_bundle(contract, contracts),
            self.backends,
            self.clock,
            limits=limits,
            make=maker(self.backends),
        )
        self.requests = SetRequests(contract, self.controller, self.policy)
        self.sensed = dict(SENSED)

    def clock(self) -> int:
        return self.now_ns

    @property
    def state(self) -> str:
        return self.policy.report.state

    def observed_by(self, member: str) -> F64:
        return self.backends[member].inputs["obs"].astype(float).ravel()

    def answers(self, member: str, *action: float) -> None:
        self.backends[member].answers["actions"] = action

    def ticks(self, count: int) -> "SetRobot":
        """Tick, with what is asked for after each tick."""
        for _ in range(count):
            self.tick()
            self.requests.tick(self.now_ns)
        return self

    def walking(self, ticks: int = 20) -> "SetRobot":
        """Enter RUN from DAMP, until it is blended in."""
        self.run(ticks)
        assert self.is_in(Mode.RUN)
        return self


def resting_sensors() -> dict[str, Sequence[float]]:
    return dict(Robot().sensed)


SENSED = resting_sensors()
