# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy set that runs in the native core."""

from __future__ import annotations

from typing import Any

from policy_core.native import Words
from policy_core.sets.member import MemberPolicy
from policy_core.sets.policy import PolicySet, SetReport


class NativeSet:
    """The host's view of a policy set that runs in a native core; see `PolicySet`.

    Call `ask` and `go_back` through `Controller.request`, and `stop` between two ticks.
    """

    def __init__(self, policy: PolicySet, native: Any, words: Words) -> None:
        """Wrap a Python set, whose state the controller copies to and from the native core."""
        self._policy, self._native, self._words = policy, native, words
        self.members, self.states, self.refusals = policy.members, policy.states, policy.refusals
        self._names = [*policy.states]
        self.ask, self.go_back = policy.ask, policy.go_back

    def stop(self) -> None:
        """Cancel requests and any blend, because the robot leaves RUN."""
        self._native.stop_set()

    def take_refusals(self) -> None:
        """Append to `refusals` a description of each request that a tick has refused."""
        while (refusal := self._native.pop_refusal()) is not None:
            self.refusals.append(self._words.refusal(refusal))

    @property
    def asked_ns(self) -> int:
        """Time at which the members last ran."""
        return int(self._native.asked_ns())

    @property
    def may_stand(self) -> bool:
        """True if the robot may stand up now."""
        return bool(self._native.may_stand())

    def commands(self, member: MemberPolicy) -> bool:
        """Return True if a member is in command in the current state."""
        return member in self.states[self._names[self._native.set_state()]].members

    @property
    def report(self) -> SetReport:
        """Current status of the set; see `SetReport`."""
        state, is_blending, asked, refused, switches, fallbacks, last, step_ratio = (
            self._native.set_report()
        )
        return SetReport(
            state=self._names[state],
            is_blending=is_blending,
            asked="" if asked < 0 else self._names[asked],
            refused=self._words.refusal(refused),
            switches=switches,
            fallbacks=fallbacks,
            last=() if last is None else self._words.last_switch(last),
            step_ratio=step_ratio,
        )
