# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Check that a report on walking is about a bundle's contract, not only about its model.

The same model walks differently with other gains, scales or bounds, so a report about an earlier
contract proves nothing about the present one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from policy_core.bundle.schema import parse_yaml

CONTRACT_KEY = "contract_sha256"
"""Key, in reports, of the hash of the contract that the report is about."""
_UNRELATED = frozenset(
    {"schema_version", "name", "version", "description", "provenance", "reports", "limits"}
)
_FILES = frozenset({"artifacts", "golden"})


def contract_sha256(content: bytes) -> str:
    """Return the hash of the values in a `policy.yaml` that can affect motion, except the models.

    It covers only the values that the file states, so a new key with a default does not change it.
    """
    document = parse_yaml(content, "policy.yaml")
    assert isinstance(document, dict)
    kept = {key: value for key, value in document.items() if key not in _UNRELATED}
    text = json.dumps(_without_files(kept), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def find_contract_problem(
    report: Mapping[str, Any], model_sha256: str | None, content: bytes, version: str
) -> str | None:
    """Return why a report is about a different contract; None if it is not.

    A report that does not state the hash of the contract is about the version that it states, if
    any.

    Args:
        report: The report; in a comparison, only the parts about the model count.
        model_sha256: Hash of the model in the bundle that the report is about.
        content: Content of the bundle's `policy.yaml`.
        version: Version in it.
    """
    parts = [report]
    if isinstance(artifacts := report.get("artifacts"), list):
        parts = [
            one for one in artifacts if isinstance(one, dict) and one.get("sha256") == model_sha256
        ]
    problems = [_part_problem(one, content, version) for one in parts]
    return problems[0] if problems and all(problems) else None


def _part_problem(part: Mapping[str, Any], content: bytes, version: str) -> str | None:
    stated, about = part.get(CONTRACT_KEY), part.get("version")
    if stated is not None:
        same = stated == contract_sha256(content)
        return None if same else "about a contract with other values"
    return None if about in (None, version) else f"about version {about}"


def _without_files(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_files(part) for key, part in value.items() if key not in _FILES}
    return [_without_files(part) for part in value] if isinstance(value, list) else value
