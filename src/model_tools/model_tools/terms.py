# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Where the terms of an observation are in the model's input."""

from __future__ import annotations

from policy_inference.bundle.contract import JointContract, Observation, Term
from policy_inference.bundle.terms import TERMS
from policy_inference.bundle.validate import term_names


def frames(observation: Observation) -> int:
    """Return the number of frames that the longest history in an observation holds."""
    return max(term.history_length or observation.history.length for term in observation.terms)


def term_columns(contract: JointContract, name: str) -> list[tuple[Term, slice]]:
    """Return each term of an input with its columns; nothing for an input with a history."""
    observation = contract.observations[name]
    if frames(observation) > 1:
        return []
    found, start = list[tuple[Term, slice]](), 0
    for term in observation.terms:
        end = start + len(term_names(term, TERMS[term.term], contract))
        found.append((term, slice(start, end)))
        start = end
    return found
