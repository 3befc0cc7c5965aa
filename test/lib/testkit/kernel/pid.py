# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A kind of set member without a model: it holds an arm in a pose, against what pulls at it.

It is the smallest complete kind, the example of CONTRIBUTING.md.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from policy_core.bundle.body import AnyContract, ComparisonLimits, Nominal
from policy_core.bundle.bundle import AnyBundle
from policy_core.bundle.contract import Damp, File, Graph, Joints, Provenance, Safety, StandingUp
from policy_core.bundle.kinds import ContractKind
from policy_core.bundle.load import parse_contract
from policy_core.bundle.schema import PerJoint, Reader, entry
from policy_core.bundle.set_contract import MemberContract
from policy_core.bundle.validate_body import BodyValidator
from policy_core.guard.limits import Limits
from policy_core.interfaces import F64, Kind, Tensor
from policy_core.observation.freshness import Input
from policy_core.observation.state import SensedCopy, StateVector
from policy_core.sets.controller import SetRequests
from policy_core.sets.member import JoinedTargets, MemberPolicy
from testkit.edits import with_edits
from testkit.kernel.contracts import CONTRACT, bundle_of, contract_of
from testkit.kernel.legs_and_arm import SET, with_arm_at_rest
from testkit.kernel.robots import Robot, ScriptedBackend
from testkit.kernel.walkers import WALK_AND_CROUCH, opened_set, resolved, set_bundle_of

ARM_JOINTS = ("pan", "lift", "gripper")


@dataclass(frozen=True, slots=True, kw_only=True)
class PidContract(AnyContract):
    """Contract of a member that holds a pose."""

    schema_version: Literal[1] = entry("1")
    kind: Literal["pid"] = entry("pid")
    name: str = entry("name of the policy")
    version: str = entry("version of the policy, in quotes")
    description: str = entry("description in one sentence", default="")
    rate_hz: float = entry("ticks per second", minimum=0.1, maximum=1000)
    joints: Joints = entry("joints by name")
    stand: StandingUp = entry("pose, gains and duration of the stand-up motion")
    damp: Damp = entry("gain for damping the joints")
    pose: PerJoint = entry("pose to hold, rad")
    integral: PerJoint = entry("rate at which an error moves the target, 1/s", minimum=0)
    nominal: Nominal | None = entry("behaviour measured in a healthy rollout", default=None)
    limits: dict[str, ComparisonLimits] = entry("comparison limits by artifact", default={})
    reports: dict[str, File] = entry("comparison report by artifact", default={})
    safety: Safety = entry("limits that the guard enforces")
    provenance: Provenance = entry("origin and licence")

    @property
    def models(self) -> Mapping[str, Graph]:
        return {}

    @property
    def command_kinds(self) -> Mapping[str, Kind]:
        return dict.fromkeys(self.joints.names, Kind.POSITION)

    @property
    def step_bounded(self) -> npt.NDArray[np.bool_]:
        return np.ones(len(self.joints.names), np.bool_)

    @property
    def unfollowable(self) -> Sequence[str]:
        return ["the integral of its error"]

    @property
    def counts_ticks(self) -> bool:
        return True


class PidBundle(AnyBundle):
    """Has no file beside its contract."""

    def golden(self) -> dict[str, Tensor]:
        return {}


class PidMember(MemberPolicy):
    """Moves its target from the pose for as long as the joints are not there."""

    STATE_IN_PLACE = (*MemberPolicy.STATE_IN_PLACE, "moved")

    def __init__(
        self,
        name: str,
        bundle: PidBundle,
        member: MemberContract,
        runner: None,
        state: StateVector,
        targets: JoinedTargets,
        inputs: Mapping[str, Input],
        clock: Callable[[], int],
    ) -> None:
        super().__init__(name, bundle, member, runner, state, targets, inputs, clock)
        contract: Any = bundle.contract
        own = self._own = StateVector(self.sensed_sizes(contract))
        self._sensed, self._joint_pos = SensedCopy(state, own, member.places), own["joint_pos"]
        self._pose: F64 = contract.pose
        self._share: F64 = contract.integral / contract.rate_hz
        self.moved: F64 = np.zeros_like(self._pose)
        self.reset()

    @property
    def state(self) -> StateVector:
        return self._own

    @staticmethod
    def sensed_sizes(contract: AnyContract) -> Mapping[str, int]:
        return dict.fromkeys(("joint_pos", "joint_vel"), len(contract.joints.names))

    @staticmethod
    def timeouts_ns(contract: AnyContract, limits: Limits) -> Mapping[str, int | None]:
        return {}

    def reset(self) -> None:
        super().reset()
        self.moved[:] = 0.0
        self.command[:] = self._pose

    def pause(self, duration_ns: int) -> None:
        """Do nothing: ticks count, not the time between them."""

    def follow(self, command: F64) -> None:
        """Do nothing: it is never followed."""

    def infer(self) -> bool:
        self._sensed.take()
        self.has_answered = True
        return bool(np.isfinite(self.first_target()).all())

    def first_target(self) -> F64:
        return self._pose + self._moved_now()

    def commit(self) -> tuple[str, ...]:
        if self.has_answered:
            self.moved[:] = self._moved_now()
            self.command[:] = self._pose + self.moved
            self.has_answered = False
            self._count()
        self._pass()
        return ()

    def _moved_now(self) -> F64:
        moved: F64 = self.moved + self._share * (self._pose - self._joint_pos)
        return moved


def check_pid(contract: PidContract, reader: Reader) -> None:
    """Add to `reader` what contradicts itself."""
    body = BodyValidator(contract, reader)
    body.joints()
    body.stand()
    body.inside("pose", contract.pose)


PID = ContractKind(
    contract=PidContract, bundle=PidBundle, validate=check_pid, node="policy_set_node"
)
CONTENT = {
    **{
        key: CONTRACT[key] for key in ("schema_version", "version", "rate_hz", "damp", "provenance")
    },
    "kind": "pid",
    "name": "hold",
    "joints": {**CONTRACT["joints"], "names": [*ARM_JOINTS], "default_position": 0.0},
    "stand": {**CONTRACT["stand"], "position": 0.0},
    "pose": {"lift": 0.1, "pan|gripper": 0.0},
    "integral": 2.0,
    "safety": {"on_fault": "damp"},
}


class LegsAndPid(Robot):
    """A walker with an arm that a PID holds; the model of the legs returns what a test sets.

    `CONTRACT_KINDS` and `MEMBERS` must have the kind.
    """

    def __init__(self) -> None:
        legs = contract_of({"safety.blend_s": 0.0})
        hold = parse_contract(json.dumps(CONTENT).encode(), "policy.yaml")
        contract, problems = resolved(with_edits(WALK_AND_CROUCH, SET), {"legs": legs, "arm": hold})
        assert contract is not None, problems
        self.set_contract = contract
        self.backend = ScriptedBackend(legs)
        self.answer(0.0, 0.0, 0.0)
        self.now_ns = 1_000_000_000
        members = {"legs": bundle_of(legs), "arm": PID.bundle.read(Path(), hold, b"")}
        runners = {"legs": self.backend, "arm": None}
        self.policy, self.controller = opened_set(
            set_bundle_of(contract, members), runners, lambda: self.now_ns
        )
        self.requests = SetRequests(contract, self.controller, self.policy)
        self.sensed = with_arm_at_rest()
