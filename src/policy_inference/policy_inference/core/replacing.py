# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a policy may take the place of another one while a node is at work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from policy_inference.bundle.contract import JointContract
from policy_inference.bundle.load import CONTRACT_FILE, Bundle
from policy_inference.core.limits import Limits
from policy_inference.core.state import RobotState
from policy_inference.errors import BundleError, Problem

_REMEDY = "clean the node up and configure it with this bundle"


def require_replaceable(running: JointContract, in_force: Limits, bundle: Bundle,
                        limits: Limits) -> None:
    """Return if what was built for a running policy fits another bundle as well.

    That is whatever a robot or a controller behind the command counts on: joints in their order,
    rate, inputs, and what is commanded after a fault.

    Args:
        running: Contract of the policy that runs.
        in_force: Its limits.
        bundle: What shall replace it.
        limits: The limits that would be in force then.

    Raises:
        BundleError: With everything that does not fit.
    """
    before, now = _facts(running, in_force), _facts(bundle.contract, limits)
    problems = [
        Problem(file=str(bundle.path / CONTRACT_FILE), key=key, found=found, remedy=_REMEDY,
                expected=f"{expected}, as the policy in use has it")
        for (key, expected), (_, found) in zip(before, now, strict=True) if found != expected
    ]
    if problems:
        raise BundleError(problems)


def _facts(contract: JointContract, limits: Limits) -> Sequence[tuple[str, str]]:
    return (
        ("joints.names", ", ".join(contract.joints.on_robot())),
        ("rate_hz", f"{contract.rate_hz:.9g}"),
        ("observations", "the inputs " + ", ".join(sorted(_inputs(contract, limits)))),
        ("safety.on_fault", contract.safety.on_fault),
    )


def _inputs(contract: JointContract, limits: Limits) -> Iterator[str]:
    state = RobotState(contract, orientation=limits.max_tilt_rad is not None)
    for name in state.inputs:
        external = state.get(f"external:{name}")
        yield name if external is None else f"{name} ({external.size} values)"
