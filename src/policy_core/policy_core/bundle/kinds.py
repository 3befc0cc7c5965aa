# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Policy kinds: the contract for each kind, and the code that checks, reads and runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from policy_core.bundle.body import AnyContract
from policy_core.bundle.bundle import AnyBundle, JointBundle
from policy_core.bundle.contract import JointContract
from policy_core.bundle.schema import Reader
from policy_core.bundle.validate import validate


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractKind:
    """A kind of policy: its contract and bundle classes, its checks and its node.

    Attributes:
        contract: Dataclass for the kind's `policy.yaml`.
        bundle: Bundle class, with a `read` method.
        validate: Adds contradictions in a resolved contract to a reader.
        node: Name of the node that runs such policies, for error messages.
    """

    contract: type[AnyContract]
    bundle: type[AnyBundle]
    validate: Callable[[Any, Reader], None]
    node: str


def _joint() -> ContractKind:
    return ContractKind(
        contract=JointContract, bundle=JointBundle, validate=validate, node="joint_policy_node"
    )


def _chunk() -> ContractKind:
    from policy_core.bundle.chunk_bundle import CHUNK

    return CHUNK


DEFAULT_KIND = "joint"
"""Kind of a contract that does not state one."""
CONTRACT_KINDS: Mapping[str, Callable[[], ContractKind]] = {DEFAULT_KIND: _joint, "chunk": _chunk}
"""Function that imports and returns each kind, by the kind's name in contracts."""
