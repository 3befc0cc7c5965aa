# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the JSON Schema of `policy.yaml`, with which editors complete and check contracts.

Run it in the root of the checkout after a change of the contract: `python -m tools.write_schema`.
"""

import json
from pathlib import Path

from policy_inference.bundle.editor_schema import contract_schema

SCHEMA = Path(__file__).resolve().parent.parent / "config" / "bundles" / "policy.schema.json"


def schema_text() -> str:
    """Return what the schema file must hold."""
    return json.dumps(contract_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(schema_text(), encoding="utf-8")
