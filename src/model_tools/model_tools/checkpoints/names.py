# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the names of tensors say about whom they belong to."""

from __future__ import annotations

from enum import Enum


class Role(Enum):
    """Whom a tensor belongs to, as far as its name says it."""

    ACTOR = "actor"
    CRITIC = "critic"
    SPREAD = "exploration noise"
    UNKNOWN = "unknown"


# Single letters: memory_a and memory_c of rsl_rl, a_rnn and c_rnn of rl_games.
WORDS = {
    Role.ACTOR: {"actor", "action", "policy", "pi", "mu", "student", "a", "s"},
    Role.CRITIC: {"critic", "value", "baseline", "vf", "v", "q", "qf", "teacher", "privileged",
                  "target", "c", "t"},
    Role.SPREAD: {"std", "logstd", "sigma", "alpha"},
}  # fmt: skip


def role(name: str) -> Role:
    """Return whom a tensor belongs to; the part of its name that is furthest right decides."""
    for word in reversed(words(name)):
        for found, known in WORDS.items():
            if word in known:
                return found
    return Role.UNKNOWN


def words(name: str) -> list[str]:
    """Split a tensor's name: ``actor_critic.actor.fc1.weight`` is actor, fc, weight."""
    apart = name.lower().replace("actor_critic", "").replace("_", ".").split(".")
    return [word.rstrip("0123456789") for word in apart if word]
