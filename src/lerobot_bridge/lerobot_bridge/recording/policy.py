# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The policy of an evaluation: whether it is the one that drives."""

from __future__ import annotations

from collections.abc import Callable

from lerobot_bridge.sidecar import PolicyRan

RUN = "RUN"
_DRIVES = (RUN, "HOLD")
"""Modes in which the command is the policy's; HOLD is its last one, for a moment."""
_SILENT_NS = 2_000_000_000
"""Without a status for so long, it is taken for gone."""


class PolicyWatch:
    """What a policy node says of itself.

    Attributes:
        ran: What it runs; None: nothing was heard of it yet.
    """

    def __init__(self, node: str, steady_ns: Callable[[], int]) -> None:
        """Watch a node, by its full name; its status comes by the steady clock, ns."""
        self.ran: PolicyRan | None = None
        self._node, self._mode, self._reason = node, "", ""
        self._steady_ns, self._heard_ns = steady_ns, 0

    def said(self, mode: str, reason: str, name: str, version: str) -> None:
        """Take its status: mode, why, name and version of its bundle."""
        self._mode, self._reason, self._heard_ns = mode, reason, self._steady_ns()
        self.ran = PolicyRan(node=self._node, bundle_name=name, bundle_version=version)

    def problem(self) -> str:
        """Return why it does not drive; empty where it does."""
        if self.ran is None:
            return (
                f"{self._node}: expected the status of a policy node, found none; does it run, "
                "in this ROS_DOMAIN_ID?"
            )
        if (age_ns := self._steady_ns() - self._heard_ns) > _SILENT_NS:
            return (
                f"{self._node}: expected its status several times a second, found the newest "
                f"{age_ns * 1e-9:.1f} s old; has it ended?"
            )
        if self._mode not in _DRIVES:
            return (
                f"{self._node}: expected the mode {RUN}, found {self._mode} ({self._reason}); "
                "`robot_operator stand`, then `robot_operator run`"
            )
        return ""
