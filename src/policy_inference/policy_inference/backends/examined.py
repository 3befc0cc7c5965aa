# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A back end's examination, of which a fault is a finding as well."""

from __future__ import annotations

from collections.abc import Sequence

from policy_inference.backends.base import BackendBase
from policy_inference.bundle.contract import Artifact
from policy_inference.machine.finding import Finding
from policy_inference.machine.machine import Machine

NOT_EXAMINED = "not examined"


def examined(
    cls: type[BackendBase], machine: Machine, artifact: Artifact | None
) -> Sequence[Finding]:
    """Return what speaks for and against a back end here; an error where that cannot be told.

    One that says nothing of itself has one finding, `NOT_EXAMINED`.

    Args:
        cls: Class of the back end.
        machine: This one.
        artifact: What it would open, if that is known.
    """
    try:
        findings = list(cls.examine(machine, artifact))
    except Exception as error:  # noqa: BLE001  # of somebody's package; the others are looked at
        return [
            Finding.error(
                "examination",
                f"{type(error).__name__}: {error}",
                f"tell those who made the back end {cls.name}",
            )
        ]
    return findings or [
        Finding.warning(
            NOT_EXAMINED,
            "this back end does not say what it needs",
            f"`policy_inference self-test --backend {cls.name}` opens it",
        )
    ]
