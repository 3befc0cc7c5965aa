# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Changes of the contract for tests, so that its chunks are made of noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from testkit.kernel.chunk_contracts import FEATURES, STEPS

_TIME = {"tensor": "time", "size": 8, "first_frequency": 1.0, "last_frequency": 1e-4}
FLOW: Mapping[str, Any] = {"method": "flow", "steps": 10, "tensor": "noisy", "time": _TIME}
DDIM: Mapping[str, Any] = {
    **FLOW,
    "method": "ddim",
    "schedule": {
        "timesteps": 100,
        "betas": "squaredcos_cap_v2",
        "beta_start": 1e-4,
        "beta_end": 0.02,
        "prediction": "sample",
        "clip": 1.0,
    },
}
CONDITIONED: Mapping[str, Any] = {**FLOW, "condition": "language", "columns": 5}
"""A flow whose observations pass one more graph, and whose noise has columns beyond the joints."""


def denoising_changes(denoising: Mapping[str, Any]) -> dict[str, object]:
    """Return the changes of `contracts.CONTRACT` for a policy with this section `denoising`."""
    observations = denoising.get("observations", 1)
    several = [observations] if observations > 1 else []
    features = [1, *several, FEATURES, 1, 1]
    rows, columns = STEPS + observations - 1, denoising.get("columns", 3)
    observed: dict[str, object] = {
        "states": {"shape": [1, *several, 3]},
        "laptop_features": {"shape": features},
        "phone_features": {"shape": features},
    }
    changes: dict[str, object] = {"denoising": dict(denoising)}
    if "condition" in denoising:
        made: dict[str, object] = {"seen": {"shape": [1, 2]}}
        changes["graphs.language"] = {
            "inputs": observed,
            "outputs": made,
            "artifacts": {
                "onnx": {"file": "language.onnx", "sha256": "0" * 64, "precision": "fp32"}
            },
        }
        observed = made
    return {
        **changes,
        "graphs.transformer.inputs": {
            **observed,
            "noisy": {"shape": [1, rows, columns]},
            "time": {"shape": [1, _TIME["size"]]},
        },
        "graphs.transformer.outputs": {"Actions": {"shape": [1, rows, columns]}},
    }
