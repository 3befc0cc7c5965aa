# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The JSON Schemas of `policy.yaml`, of both kinds of policies, and of `set.yaml`, for editors."""

from typing import Any

from policy_core.bundle.chunk_contract import ChunkContract
from policy_core.bundle.contract import JointContract
from policy_core.bundle.schema import json_schema
from policy_core.bundle.set_contract import SetFile


def set_schema() -> dict[str, Any]:
    """Return the schema of a policy set."""
    return json_schema(SetFile)


def contract_schema() -> dict[str, Any]:
    """Return a schema that asks for what the contract's `kind` needs."""
    joint, chunk = json_schema(JointContract), json_schema(ChunkContract)
    dialect = {"$schema": joint.pop("$schema")}
    chunk.pop("$schema")
    is_chunk = {"properties": {"kind": {"const": "chunk"}}, "required": ["kind"]}
    return {**dialect, "if": is_chunk, "then": chunk, "else": joint}
