# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The contract of the smallest joint policy, around a model that the caller has written."""

from __future__ import annotations

from pathlib import Path

from policy_core.bundle.verified import sha256_file

_TEXT = """
schema_version: 1
kind: joint
name: tiny
version: "1.0.0"
rate_hz: 50
joints: {names: [hip, knee], default_position: 0, position_min: -1, position_max: 1,
         velocity_limit: 1, effort_limit: 1, stiffness: 1, damping: 1}
stand: {position: 0, stiffness: 1, damping: 1, duration_s: 1}
damp: {damping: 1}
observations: {obs: {terms: [{term: joint_pos}, {term: joint_vel}, LAST]}}
action: {output: actions, terms: [{joints: [hip, knee], kind: position}]}
STATE
model:
  inputs: {obs: {shape: [1, 6]}INPUTS}
  outputs: {actions: {shape: [1, 2]}OUTPUTS}
  artifacts:
    onnx: {file: policy.onnx, sha256: MODEL, precision: fp32}
  golden: {file: golden.npz, sha256: GOLDEN}
LIMITS
safety: {on_fault: damp}
provenance: {source: a test, licence: Apache-2.0}
"""


def write_tiny_contract(
    folder: Path, *, limits: str = "", last: str = "{term: last_action}", recurrent: bool = False
) -> None:
    """Write policy.yaml beside `policy.onnx` and `golden.npz`.

    Args:
        folder: Of the bundle.
        limits: Lines of the contract's `limits`.
        last: The third term of the observation.
        recurrent: Whether the model has a state `h_in` [1, 2], given back as `h_out`.
    """
    state = ", {0}: {{shape: [1, 2]}}" if recurrent else ""
    words = {
        "MODEL": sha256_file(folder / "policy.onnx"),
        "GOLDEN": sha256_file(folder / "golden.npz"),
        "INPUTS": state.format("h_in"),
        "OUTPUTS": state.format("h_out"),
        "LIMITS": limits,
        "LAST": last,
        "STATE": "state: [{input: h_in, output: h_out}]" if recurrent else "",
    }
    text = _TEXT
    for word, value in words.items():
        text = text.replace(word, value)
    (folder / "policy.yaml").write_text(text, "utf-8")
