# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Check that a policy may replace another while a node is active."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from policy_core.bundle.bundle import Bundle
from policy_core.bundle.set_contract import HostedContract
from policy_core.errors import BundleError, Problem

_REMEDY = "clean the node up and configure it with this bundle"


def require_replaceable(
    running: HostedContract, inputs: Iterable[str], bundle: Bundle, new_inputs: Iterable[str]
) -> None:
    """Raise an error unless another bundle may replace the running policy.

    Joint order, rate, inputs and the behavior after a fault must be equal: the robot, or a
    controller that receives the command, relies on them.

    Args:
        running: Contract of the running policy.
        inputs: Topics that the running policy subscribes to.
        bundle: Bundle of the replacement.
        new_inputs: Topics that the replacement subscribes to.

    Raises:
        BundleError: Lists every difference.
    """
    before, now = _facts(running, inputs), _facts(bundle.contract, new_inputs)
    problems = [
        Problem(
            file=str(bundle.file),
            key=key,
            found=found,
            remedy=_REMEDY,
            expected=f"{expected} as in the policy in use",
        )
        for (key, expected), (_, found) in zip(before, now, strict=True)
        if found != expected
    ]
    if problems:
        raise BundleError(*problems)


def _facts(contract: HostedContract, inputs: Iterable[str]) -> Iterator[tuple[str, str]]:
    yield "joints.names", f"({', '.join(contract.joints.on_robot())})"
    yield "rate_hz", f"{contract.rate_hz:.9g}"
    yield "observations", f"the inputs ({', '.join(sorted(inputs))})"
    yield "safety.on_fault", contract.safety.on_fault
