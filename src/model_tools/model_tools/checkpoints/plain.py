# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A state dict, bare or under the key `state_dict`."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

NAME = "state dict"


def read(content: Mapping[str, object]) -> Mapping[str, Tensor] | None:
    """Return the tensors as they are named, or None for another layout."""
    inner = content.get("state_dict", content)
    return only_tensors(inner) if isinstance(inner, Mapping) else None


def only_tensors(content: Mapping[str, object]) -> Mapping[str, Tensor] | None:
    """Return the mapping if it holds tensors and nothing else."""
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    return tensors if len(tensors) == len(content) else None
