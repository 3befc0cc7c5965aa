# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The kinds of policies: what a `policy.yaml` may be, and what checks, reads and runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from policy_core.bundle.body import AnyContract
from policy_core.bundle.bundle import AnyBundle, ChunkBundle, JointBundle
from policy_core.bundle.chunk_contract import ChunkContract
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


def _validate_chunk(contract: ChunkContract, reader: Reader) -> None:
    from policy_core.bundle.validate_chunk import validate_chunk  # a joint policy has it not

    validate_chunk(contract, reader)


DEFAULT_KIND = "joint"
"""Of a contract that states none."""
CONTRACT_KINDS: Mapping[str, ContractKind] = {
    DEFAULT_KIND: ContractKind(
        contract=JointContract, bundle=JointBundle, validate=validate, node="joint_policy_node"
    ),
    "chunk": ContractKind(
        contract=ChunkContract,
        bundle=ChunkBundle,
        validate=_validate_chunk,
        node="act_policy_node",
    ),
}
"""By the `kind` of a contract."""
