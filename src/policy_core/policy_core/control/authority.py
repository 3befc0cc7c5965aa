# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The operator's authority setting: the policy's share in each joint's command during RUN."""

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
from policy_core.control_state import Stateful
from policy_core.errors import RefusedError
from policy_core.guard.limits import Limits
from policy_core.interfaces import F64, Index, JointTargets, OnFault

AUTHORITY = "authority"
"""First word of an authority request in recordings."""


class Rest(IntEnum):
    """Source of the rest of a joint's command, if the policy's share is below 1.

    See SetAuthority.srv.
    """

    STAND = 0
    """Stand pose and stand gains."""
    FREEZE = 1
    """Position commanded at the time of the request, with the stand gains."""
    DISABLE = 2
    """No stiffness, with the damping used after a fault."""


class AuthorityRequest(NamedTuple):
    """A request for authority; its text in recordings: `authority 0.5 freeze FL_*,FR_HipX`.

    Attributes:
        share: The policy's share, 0 to 1.
        rest: Source of the rest of the command.
        joints: Joint names or patterns (`FL_*`); empty for all joints.
    """

    share: float
    rest: Rest = Rest.STAND
    joints: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the request as text, which `parse` converts back."""
        parts = [AUTHORITY, repr(float(self.share))]
        if self.joints or self.rest is not Rest.STAND:
            parts += [self.rest.name.lower(), *filter(None, [",".join(self.joints)])]
        return " ".join(parts)

    @staticmethod
    def parse(text: str) -> AuthorityRequest:
        """Parse the text of a request.

        Raises:
            KeyError, ValueError: The text is not an authority request.
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
    """Mixes the policy's targets with the rest targets, joint by joint.

    Changes to the share or the rest take effect gradually, over the contract's `blend_s`.

    Attributes:
        names: Contract joint names.
        share: The policy's share now in effect [joints], 0 to 1.
        wanted: Requested share [joints].
    """

    STATE_IN_PLACE = ("share", "wanted", "_rest", "_frozen", "_turn", "_before")
    PLAN = ("_step", "_may_disable", "_standing", "_limp")

    def __init__(self, body: Body, stand: Stand, limits: Limits) -> None:
        """Start with a full share for the policy."""
        self.names = body.joints.names
        joints = len(self.names)
        self._step = min(1.0, body.period_ns / limits.blend_ns) if limits.blend_ns else 1.0
        """Maximum change in a share per tick."""
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
        """`Rest` value for each joint, as a number."""
        self._frozen: F64 = stand.pose.copy()
        # The rest targets move from those of `_before` to those of `_rest` while `_turn` goes to 1.
        self._turn: F64 = np.ones(joints)
        self._before: F64 = self._standing.copy()

    def forget(self) -> None:
        """Reset the policy's share to 1 for all joints."""
        self.share[:] = self.wanted[:] = self._turn[:] = 1.0
        self._rest[:] = Rest.STAND

    @property
    def is_partial(self) -> bool:
        """True if any joint's share is, or will be, below 1."""
        return bool((self.share < 1.0).any() or (self.wanted < 1.0).any())

    def select_joints(self, request: AuthorityRequest) -> Index:
        """Return the indices of the joints that a request names, or of all joints if it names none.

        Raises:
            RefusedError: The request cannot be granted; lists every reason.
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
        """Grant an authority request.

        Args:
            request: Authority request.
            joints: Indices of the requested joints; see `select_joints`.
            pose: Commanded position [joints] that FREEZE holds, rad.
            at_once: True to grant it without blending, because the policy is not running.
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

    def begin(self) -> None:
        """Apply all requested values now, without blending, since a new run is itself blended."""
        self.share[:] = self.wanted
        self._turn[:] = 1.0

    def advance(self) -> None:
        """Move the shares and the rest targets one RUN tick closer to the requested values."""
        step, gap = self._step, self.wanted - self.share
        moved = self.share + np.copysign(step, gap)
        self.share[:] = np.where(np.abs(gap) <= step, self.wanted, moved)
        np.minimum(self._turn + step, 1.0, out=self._turn)

    def mix(self, targets: JointTargets, unposed: npt.NDArray[np.bool_]) -> None:
        """Scale the targets by each joint's share, and add the rest targets to make up the whole.

        Args:
            targets: Targets from the policy, changed in place.
            unposed: Mask [joints] of the joints that the policy does not command by position.
        """
        rest = self._at_rest()
        targets.blended *= self.share
        targets.blended += (1.0 - self.share) * rest[:5]
        np.copyto(targets.position, rest[0], where=unposed & (self.share < 1.0))

    def _at_rest(self) -> F64:
        """Return the current rest targets, in the layout of `JointTargets.block`."""
        goal = np.where(self._rest == Rest.DISABLE, self._limp, self._standing)
        np.copyto(goal[0], self._frozen, where=self._rest == Rest.FREEZE)
        mixed: F64 = self._turn * goal + (1.0 - self._turn) * self._before
        return mixed


def refused(problems: Sequence[str]) -> RefusedError:
    """Return an error that lists every reason why an authority request was refused."""
    return RefusedError(
        words.REQUEST_REFUSED.format(wanted=AUTHORITY, problems="; ".join(problems))
    )
