# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""rsl_rl's `model_<iteration>.pt`.

Until version 3 one `model_state_dict` for actor and critic (`actor.0.weight`, `memory_a.rnn.*`),
beside it up to 2.3 `obs_norm_state_dict`, in 3 `actor_obs_normalizer.*` inside; later
`actor_state_dict` and `critic_state_dict` (`mlp.0.weight`, `rnn.rnn.*`, `obs_normalizer.*`).
Distillation says `student` where reinforcement learning says `actor`.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from model_tools.checkpoints.plain import only_tensors

NAME = "rsl_rl"
TOGETHER, NORMALISER = "model_state_dict", "obs_norm_state_dict"
APART = ("student", "actor")


def read(content: Mapping[str, object]) -> Mapping[str, Tensor] | None:
    """Return the tensors; those of a part that is stored apart begin with its name."""
    together = content.get(TOGETHER)
    if isinstance(together, Mapping):
        return only_tensors({**together, **part(content, NORMALISER, "obs_norm")})
    for name in APART:
        if f"{name}_state_dict" in content:
            return only_tensors(part(content, f"{name}_state_dict", name))
    return None


def part(content: Mapping[str, object], key: str, prefix: str) -> dict[str, object]:
    """Return what stands under a key, with names that begin with `prefix`."""
    inner = content.get(key)
    if not isinstance(inner, Mapping):
        return {}
    return {f"{prefix}.{name}": value for name, value in inner.items()}
