# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The operator's dial: how much of each joint's command in RUN is the policy's."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import IntEnum
from fnmatch import fnmatchcase
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from policy_core import words
from policy_core.bundle.body import Body
from policy_core.control.motions import Stand
from policy_core.control_state import Stateful, Tree
from policy_core.errors import RefusedError
from policy_core.guard.limits import Limits
from policy_core.interfaces import F64, Index, JointTargets, OnFault

AUTHORITY = "authority"
"""What requests of it begin with in recordings."""


class Rest(IntEnum):
    """What a joint gets where the policy's share is below 1; numbers as in SetAuthority.srv."""

    STAND = 0
    """Position and gains of the stand."""
    FREEZE = 1
    """The position that was commanded at the request, with the gains of the stand."""
    DISABLE = 2
    """No stiffness, the damping that follows a fault."""


class AuthorityRequest(NamedTuple):
    """A setting of the dial; as text in recordings: `authority 0.5 freeze FL_*,FR_HipX`.

    Attributes:
        share: Of the policy, 0 to 1.
        rest: What the joints get beside it.
        joints: Names or patterns (`FL_*`); empty: all.
    """

    share: float
    rest: Rest = Rest.STAND
    joints: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return its text, from which `parse` makes an equal request."""
        parts = [AUTHORITY, repr(float(self.share))]
        if self.joints or self.rest is not Rest.STAND:
            parts += [self.rest.name.lower(), *filter(None, [",".join(self.joints)])]
        return " ".join(parts)

    @staticmethod
    def parse(text: str) -> AuthorityRequest:
        """Return the request of a text.

        Raises:
            KeyError, ValueError: It is not the text of such a request.
        """
        name, share, rest, joints, *more = [*text.split(" "), "", ""]
        if name != AUTHORITY or any(more):
            raise ValueError(f"expected '{AUTHORITY} SHARE [REST [JOINTS]]', found {text!r}")
        return AuthorityRequest(
            float(share),
            Rest[rest.upper()] if rest else Rest.STAND,
            tuple(filter(None, joints.split(","))),
        )


class Authority(Stateful):
    """Mixes the policy's targets with those of rest, joint by joint.

    Shares, and what is at rest, change within the contract's `blend_s`, however they are set.

    Attributes:
        names: Of the joints, as in the contract.
        share: Of the policy, in force [joints], 0 to 1.
        wanted: Where that goes [joints].
    """

    STATE_IN_PLACE = ("share", "wanted", "_rest", "_frozen", "_turn", "_before")
    PLAN = ("_step", "_may_disable", "_standing", "_limp")

    def __init__(self, body: Body, stand: Stand, limits: Limits) -> None:
        """Leave everything to the policy."""
        self.names = body.joints.names
        joints = len(self.names)
        self._step = min(1.0, body.period_ns / limits.blend_ns) if limits.blend_ns else 1.0
        """How far a share moves in a tick."""
        self._standing: F64 = stand.targets.block.copy()
        self._standing[0] = stand.pose
        self._limp: F64 = self._standing.copy()
        on_fault = OnFault(body.safety.on_fault)
        self._may_disable = on_fault is not OnFault.HOLD_MEASURED
        if self._may_disable:
            self._limp[3] = 0.0
            self._limp[4] = body.damp.damping if on_fault is OnFault.DAMP else 0.0
        self.share: F64 = np.ones(joints)
        self.wanted: F64 = np.ones(joints)
        self._rest: F64 = np.zeros(joints)
        """`Rest` of each joint, by number."""
        self._frozen: F64 = stand.pose.copy()
        # What is at rest moves from `_before` to that of `_rest`, as `_turn` goes to 1.
        self._turn: F64 = np.ones(joints)
        self._before: F64 = self._standing.copy()
        self.is_partial = False
        """Whether a joint is not, or will not be, the policy's alone."""

    def restore(self, saved: Tree) -> None:
        """Go on from what another one has saved."""
        super().restore(saved)
        self._look()

    def forget(self) -> None:
        """Leave everything to the policy."""
        self.share[:] = self.wanted[:] = self._turn[:] = 1.0
        self._rest[:] = Rest.STAND
        self._look()

    def _look(self) -> None:
        self.is_partial = bool((self.share < 1.0).any() or (self.wanted < 1.0).any())

    def select_joints(self, request: AuthorityRequest) -> Index:
        """Return the places of the joints that a request is for.

        Raises:
            RefusedError: It cannot be granted; with every reason.
        """
        found = list[str]()
        if not (math.isfinite(request.share) and 0.0 <= request.share <= 1.0):
            found.append(words.BAD_SHARE.format(found=request.share))
        if request.rest is Rest.DISABLE and not self._may_disable:
            found.append(words.MAY_NOT_DISABLE)
        matches = {
            each: [fnmatchcase(name, each) for name in self.names] for each in request.joints
        }
        if unknown := [repr(each) for each, match in matches.items() if not any(match)]:
            names = ", ".join(self.names)
            found.append(words.NO_SUCH_JOINT.format(names=names, found=", ".join(unknown)))
        if found:
            raise refused(found)
        if not matches:
            return np.arange(len(self.names))
        return np.flatnonzero(np.any([*matches.values()], axis=0))

    def set(self, request: AuthorityRequest, joints: Index, pose: F64, *, at_once: bool) -> None:
        """Take a request.

        Args:
            request: It.
            joints: Its joints, see `select_joints`.
            pose: Position that is commanded now [joints], rad; what FREEZE holds.
            at_once: Whether nothing moves by it, since the policy does not run.
        """
        at_rest = self._at_rest()
        changes = joints
        if request.rest is not Rest.FREEZE:
            changes = joints[self._rest[joints] != request.rest]
        self._before[:, changes] = at_rest[:, changes]
        self._turn[changes] = self.share[changes] >= 1.0
        self._rest[joints] = request.rest
        self._frozen[joints] = pose[joints]
        self.wanted[joints] = request.share
        if at_once:
            self.begin()
        self._look()

    def begin(self) -> None:
        """Have everything in force that is wanted: the blend of a run begins at 0."""
        self.share[:] = self.wanted
        self._turn[:] = 1.0
        self._look()

    def advance(self) -> None:
        """Go on by a tick of RUN."""
        if not self.is_partial:
            return
        step, gap = self._step, self.wanted - self.share
        moved = self.share + np.copysign(step, gap)
        self.share[:] = np.where(np.abs(gap) <= step, self.wanted, moved)
        np.minimum(self._turn + step, 1.0, out=self._turn)
        self._look()

    def mix(self, targets: JointTargets, unposed: npt.NDArray[np.bool_]) -> None:
        """Leave each joint's share of these targets, and add what is at rest.

        Args:
            targets: Those of the policy.
            unposed: Which joints it does not command to a position [joints].
        """
        rest = self._at_rest()
        targets.block *= self.share
        targets.block += (1.0 - self.share) * rest
        np.copyto(targets.position, rest[0], where=unposed & (self.share < 1.0))

    def _at_rest(self) -> F64:
        """Return what is at rest now, as `JointTargets.block`."""
        goal = np.where(self._rest == Rest.DISABLE, self._limp, self._standing)
        np.copyto(goal[0], self._frozen, where=self._rest == Rest.FREEZE)
        mixed: F64 = self._turn * goal + (1.0 - self._turn) * self._before
        return mixed


def refused(problems: Sequence[str]) -> RefusedError:
    """Return the error that refuses a request, with every reason."""
    return RefusedError(
        words.REQUEST_REFUSED.format(wanted=AUTHORITY, problems="; ".join(problems))
    )
