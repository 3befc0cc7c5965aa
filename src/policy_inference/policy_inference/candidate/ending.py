# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Ends a run whose trial has had its time, in a way in which no robot falls."""

from __future__ import annotations

from policy_core.bundle.set_contract import HostedContract
from policy_core.control.tick import Tick
from policy_core.control.verdict import RunEnd, RunVerdict
from policy_core.guard.limits import Limits
from policy_core.interfaces import Mode, OnFault

_REASON = "the RUN time of the trial is used up"
_STILL_S = 1.0
"""After the velocity command has faded: a robot that walked comes to rest."""
_STAND_WITHIN_S = 2.0
"""A foot that hits the ground may be measured outside its limits for a tick, so stand waits."""


class RunEnding:
    """The velocity command fades to zero, the robot comes to rest, then it stands.

    A set goes the way back to a state from which the robot may stand up.

    One that holds what is measured after a fault does that instead of standing.
    """

    def __init__(self, contract: HostedContract, limits: Limits) -> None:
        """Do nothing yet.

        Args:
            contract: Says what is commanded after a fault; of a set, how long the way back takes.
            limits: In force: the time in which a command fades.
        """
        self._holds = OnFault(contract.safety.on_fault) is OnFault.HOLD_MEASURED
        self._stand_within_ns = round((_STAND_WITHIN_S + contract.way_back_s) * 1e9)
        self._rests_ns = limits.command_ramp_ns + round(_STILL_S * 1e9)
        self._began_ns: int | None = None

    def observe(self, tick: Tick) -> RunVerdict | None:
        """Return what is to be done now to end the run; control thread, after a tick of it."""
        takes_command = tick.state.get("velocity_command") is not None
        if self._began_ns is None:
            self._began_ns = tick.now_ns
            if takes_command:
                return RunVerdict(RunEnd.FADE, _REASON)
        late_ns = tick.now_ns - self._began_ns - (self._rests_ns if takes_command else 0)
        if late_ns < 0:
            return None
        # What keeps it from standing may last a few ticks only: it is asked again.
        if self._holds or late_ns > self._stand_within_ns:
            return RunVerdict(RunEnd.DAMP, _REASON)
        return RunVerdict(RunEnd.STAND, _REASON) if tick.mode is Mode.RUN else None
