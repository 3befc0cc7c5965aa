# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""JSON Schemas for editors: one for all kinds of `policy.yaml`, and one for `set.yaml`."""

from typing import Any

from policy_core.bundle.kinds import CONTRACT_KINDS, DEFAULT_KIND
from policy_core.bundle.schema import json_schema
from policy_core.bundle.set_contract import SetFile


def set_schema() -> dict[str, Any]:
    """Return the JSON Schema for `set.yaml`."""
    return json_schema(SetFile)


def contract_schema() -> dict[str, Any]:
    """Return the JSON Schema for `policy.yaml`, which selects the keys by the contract's `kind`."""
    schemas = {name: json_schema(kind().contract) for name, kind in CONTRACT_KINDS.items()}
    dialects = {schema.pop("$schema") for schema in schemas.values()}
    found = schemas.pop(DEFAULT_KIND)
    for name, schema in schemas.items():
        is_kind = {"properties": {"kind": {"const": name}}, "required": ["kind"]}
        found = {"if": is_kind, "then": schema, "else": found}
    (dialect,) = dialects
    return {"$schema": dialect, **found}
