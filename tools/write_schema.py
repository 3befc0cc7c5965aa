# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the JSON Schemas with which editors complete and check contracts, plans and similar files.

Run it in the root of the checkout after changing a format: `python -m tools.write_schema`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lerobot_bridge.mapping_file import MAPPINGS, mapping_schema
from model_tools.prove.evaluation.plan import plan_schema
from policy_core.bundle.editor_schema import contract_schema, set_schema
from policy_store.trial_file import trial_schema
from tools.arguments import refuse_arguments

_ROOT = Path(__file__).resolve().parent.parent
CONTRACTS = _ROOT / "config" / "bundles"
PLANS = _ROOT / "examples" / "evaluate"


def schemas() -> dict[Path, Mapping[str, Any]]:
    """Return the content of each schema file."""
    return {
        CONTRACTS / "policy.schema.json": contract_schema(),
        CONTRACTS / "set.schema.json": set_schema(),
        CONTRACTS / "trial.schema.json": trial_schema(),
        PLANS / "plan.schema.json": plan_schema(),
        MAPPINGS / "mapping.schema.json": mapping_schema(),
    }


def main() -> None:
    """Write all schema files."""
    refuse_arguments("tools.write_schema", __doc__)
    for file, schema in schemas().items():
        file.write_text(json.dumps(schema, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
