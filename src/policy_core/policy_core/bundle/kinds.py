# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The kinds of policies: what a `policy.yaml` may be, and what checks, reads and runs it."""

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
    """A kind of policy, before it is opened.

    Attributes:
        contract: Dataclass of its `policy.yaml`.
        bundle: Type of its bundles, which has `read`.
        validate: Adds to a reader what contradicts itself in a contract that is resolved.
        node: What runs it, in the words of an error.
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
"""Of a contract that states none."""
CONTRACT_KINDS: Mapping[str, Callable[[], ContractKind]] = {DEFAULT_KIND: _joint, "chunk": _chunk}
"""By the `kind` of a contract. Each is loaded when a contract of this kind is read."""
