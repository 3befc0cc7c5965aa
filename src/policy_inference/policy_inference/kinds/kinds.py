# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The kinds of policies that there are."""

from __future__ import annotations

from typing import Any

from policy_core.bundle.bundle import Bundle
from policy_inference.kinds.chunk import ChunkKind
from policy_inference.kinds.joint import JointKind
from policy_inference.kinds.kind import MemberKind

KINDS: tuple[MemberKind[Any], ...] = (JointKind(), ChunkKind())
"""Each with its usual settings."""


def kind_of(bundle: Bundle) -> MemberKind[Any]:
    """Return the kind of a bundle's policy."""
    return next(kind for kind in KINDS if isinstance(bundle, kind.bundle))
